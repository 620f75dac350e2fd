//! Every statement in the sources fits the schema. Without sqlx's macros nobody else says so before it runs.

use crate::fixture::store;
use sqlx::{AssertSqlSafe, Executor};
use std::fs;
use std::path::{Path, PathBuf};

/// What Postgres can prepare.
const PREPARED: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES"];

#[tokio::test]
async fn every_statement_fits_the_schema() {
    let statements: Vec<Statement> = sources().iter().flat_map(|path| statements_of(path)).collect();
    assert!(
        statements.len() > 50,
        "only {} statements were found",
        statements.len()
    );
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let mut misfits = Vec::new();
    for statement in &statements {
        let (Statement { name, sql }, verb) = (statement, statement.verb());
        assert!(PREPARED.contains(&verb), "{name} starts with {verb:?}");
        let prepare = format!("PREPARE statement AS\n{sql}");
        if let Err(error) = connection.execute(sqlx::raw_sql(AssertSqlSafe(prepare))).await {
            misfits.push(format!("{name}: {error}"));
            continue;
        }
        connection
            .execute(sqlx::raw_sql("DEALLOCATE statement"))
            .await
            .expect("it was prepared");
    }
    assert!(misfits.is_empty(), "{misfits:#?}");
}

#[test]
fn every_statement_is_named_after_its_module() {
    for path in sources() {
        let module = path.file_stem().and_then(|stem| stem.to_str()).expect("a module");
        for Statement { name, .. } in statements_of(&path) {
            assert_eq!(
                name.split_once('.').map(|(table, _)| table),
                Some(module),
                "{name} in {}",
                path.display()
            );
        }
    }
}

pub(crate) struct Statement {
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// Every statement that Postgres can prepare.
pub(crate) fn prepared() -> Vec<Statement> {
    let statements = sources().into_iter().flat_map(|path| statements_of(&path));
    statements
        .filter(|statement| PREPARED.contains(&statement.verb()))
        .collect()
}

impl Statement {
    fn verb(&self) -> &str {
        let mut lines = self.sql.lines().skip(1);
        lines
            .find_map(|line| line.split_whitespace().next())
            .unwrap_or_default()
    }
}

fn sources() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let files = fs::read_dir(folder).expect("the sources are there");
    files
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.is_file())
        .collect()
}

/// The literals that begin with `-- `.
fn statements_of(path: &Path) -> Vec<Statement> {
    let source = fs::read_to_string(path).expect("sources are UTF-8");
    let mut statements = Vec::new();
    let mut rest = source.as_str();
    while let Some(start) = rest.find("\"-- ") {
        rest = &rest[start + 1..];
        let end = rest.find('"').expect("a literal ends");
        let sql = rest[..end].replace("\\n", "\n");
        let name = sql
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("-- ")
            .trim()
            .to_owned();
        statements.push(Statement { name, sql });
        rest = &rest[end + 1..];
    }
    statements
}
