use super::*;
use sqlx::sqlite::SqliteConnectOptions;

const LIMITS: Limits = Limits { rows: 100, time: Duration::from_secs(60), bytes: 1 << 20 };

async fn store(dir: &Path) -> PathBuf {
    let path = dir.join("release.sqlite");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let sql = "CREATE TABLE t (n INTEGER, r REAL, s TEXT, b BLOB); INSERT INTO t VALUES (1, 1.5, 'x', x'00ff'), (2, NULL, '', NULL);";
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    path
}

#[tokio::test]
async fn answers_keep_names_types_and_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    let answer = ask(&path, "SELECT n AS number, r, s, b, n + r AS sum FROM t ORDER BY n DESC;", LIMITS).await.unwrap();
    assert_eq!(answer.columns, ["number", "r", "s", "b", "sum"]);
    let text = |t: &str| Value::Text(t.to_owned());
    assert_eq!(
        answer.rows,
        [
            vec![Value::Integer(2), Value::Null, text(""), Value::Null, Value::Null],
            vec![Value::Integer(1), Value::Real(1.5), text("x"), Value::Blob(vec![0, 255]), Value::Real(2.5)],
        ]
    );
    let none = ask(&path, "SELECT n FROM t WHERE n > 5", LIMITS).await.unwrap();
    assert_eq!((none.columns.as_slice(), none.rows.len()), (&["n".to_owned()][..], 0), "names without rows");
    let shapes = shapes(&path).await.unwrap();
    assert_eq!((shapes[0].table.as_str(), shapes[0].columns.len()), ("t", 4));
}

#[tokio::test]
async fn what_is_wrong_too_much_or_too_long_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    let few = Limits { rows: 1, ..LIMITS };
    assert!(matches!(ask(&path, "SELECT * FROM t", few).await, Err(QueryError::TooManyRows(1))));
    let short = Limits { time: Duration::from_millis(200), ..LIMITS };
    let endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    assert!(matches!(ask(&path, endless, short).await, Err(QueryError::TooLong(_))));
    let Err(QueryError::Sql(message)) = ask(&path, "SELECT missing FROM t", LIMITS).await else { panic!() };
    assert!(message.contains("no such column: missing"), "{message}");
    assert!(matches!(ask(&folder.path().join("none"), "SELECT 1", LIMITS).await, Err(QueryError::NoStore(_))));
}

#[tokio::test]
async fn a_statement_cannot_take_the_memory_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    for sql in [
        "SELECT length(printf('%.*c', 900000000, 'x'))",
        "SELECT printf('%.*c', 900000000, 'x')",
        "SELECT printf('%.*c', 200000000, 'x')",
        "WITH RECURSIVE c(x) AS (SELECT s FROM t WHERE n = 1 UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c",
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 400000) SELECT group_concat(printf('%.1000c', 'x')) FROM c",
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c ORDER BY printf('%.1000c', n)",
        "SELECT replace(printf('%.*c', 1000000, 'x'), 'x', printf('%.*c', 1000, 'y'))",
    ] {
        let outcome = ask(&path, sql, LIMITS).await;
        assert!(matches!(outcome, Err(QueryError::TooMuchMemory)), "{sql}: {:?}", outcome.err());
    }
    // many small rows, and one large one
    let many = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT printf('%.100000c', 'x') FROM c";
    for sql in [many, "SELECT printf('%.*c', 2000000, 'x')"] {
        assert!(matches!(ask(&path, sql, LIMITS).await, Err(QueryError::TooLarge(_))), "{sql}");
    }
    assert_eq!(ask(&path, "SELECT count(*) FROM t", LIMITS).await.unwrap().rows, [[Value::Integer(2)]], "still well");
}

/// Inside one function SQLite asks nobody whether to go on; this one compares for half a minute.
#[tokio::test]
async fn a_statement_that_hangs_in_one_function_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    let sql = "SELECT length(replace(printf('%.1500000c', 'a'), printf('%.750000c', 'a') || 'b', ''))";
    let (started, short) = (Instant::now(), Limits { time: Duration::from_millis(100), ..LIMITS });
    assert!(matches!(ask(&path, sql, short).await, Err(QueryError::TooLong(_))));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// Even without the guard the connection writes nothing, here or elsewhere.
#[tokio::test]
async fn the_connection_itself_refuses_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path()).await;
    let before = std::fs::read(&path).unwrap();
    for sql in ["INSERT INTO t (n) VALUES (3)", "DELETE FROM t", "CREATE TABLE u (a)", "DROP TABLE t"] {
        let mut connection = open(&path).await.unwrap();
        let outcome = sqlx::query(sql).execute(&mut connection).await;
        let message = text_of(&outcome.unwrap_err());
        assert!(message.contains("readonly") || message.contains("read-only"), "{sql}: {message}");
    }
    let mut connection = open(&path).await.unwrap();
    assert!(sqlx::query("SELECT load_extension('/tmp/x.so')").fetch_all(&mut connection).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no file appeared beside it");
}
