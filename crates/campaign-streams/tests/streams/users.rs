//! The rights of `deploy/redis/users.acl`: what the lane's scripts call is allowed to whoever runs them. That the
//! rest is enough, and how little it is, is tried with the whole system.

use std::collections::BTreeSet;
use std::path::Path;

/// Scripts of a member; all others are the owner's, or `sender-svc`'s.
const OF_MEMBERS: [&str; 5] = ["take", "settle", "pace", "recover", "report"];
/// Run by whoever receives the wish, and by the ledger; in front of what members and the owner run.
const OF_BOTH: [&str; 2] = ["optout", "outcomes"];
/// Do all they do by what stands in front of them.
const WITHOUT_CALLS: [&str; 2] = ["unverify", "report"];

fn rights_of(user: &str) -> String {
    let rules = include_str!("../../../../deploy/redis/users.acl");
    let own = rules
        .split("\nuser ")
        .find(|rule| rule.split(' ').next() == Some(user));
    own.expect("the user is there").replace('\n', " ")
}

/// Commands as the rules name them: `xadd`, and `xinfo|stream` where there are subcommands.
fn called(script: &str) -> BTreeSet<String> {
    let calls = script
        .split("redis.call(")
        .chain(script.split("redis.pcall("))
        .skip(1);
    let words = calls.filter_map(|call| {
        let mut quoted = call.split('\'');
        let (before, command) = (quoted.next()?, quoted.next()?.to_lowercase());
        let subcommand = quoted.nth(1).map(str::to_lowercase);
        before.is_empty().then_some((command, subcommand))
    });
    words
        .map(|(command, subcommand)| match (command.as_str(), subcommand) {
            ("xinfo" | "xgroup", Some(subcommand)) => format!("{command}|{subcommand}"),
            _ => command,
        })
        .collect()
}

#[test]
fn whoever_runs_a_script_may_do_what_it_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lane/scripts");
    let read = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.lua"))).expect("a script");
    // Every script checks the identity with what it shares with the others.
    let shared: BTreeSet<String> = ["info", "time", "hmget", "zscore"].map(str::to_owned).into();
    let mut scripts = 0;
    for file in std::fs::read_dir(&folder).expect("the scripts") {
        let path = file.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        if name == "prelude" {
            continue;
        }
        scripts += 1;
        let users: &[&str] = match name {
            _ if OF_BOTH.contains(&name) => &["message-svc", "sender-svc"],
            _ if OF_MEMBERS.contains(&name) => &["message-svc"],
            _ => &["sender-svc"],
        };
        let commands = called(&read(name));
        assert!(
            !commands.is_empty() || WITHOUT_CALLS.contains(&name),
            "{name} calls something"
        );
        for (user, command) in users
            .iter()
            .flat_map(|user| commands.union(&shared).map(move |command| (user, command)))
        {
            let rights = rights_of(user);
            let allowed = rights.split(' ').any(|right| right == format!("+{command}"));
            assert!(allowed, "{name}.lua calls {command}, which {user} may not");
        }
    }
    assert_eq!(scripts, 19, "all scripts were looked at");
}
