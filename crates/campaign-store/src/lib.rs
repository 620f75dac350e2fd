//! All SQL, grouped by table; pool; migrator.
