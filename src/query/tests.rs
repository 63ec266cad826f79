use super::*;
use sqlx::sqlite::SqliteConnectOptions;

const LIMITS: Limits = Limits { rows: 100, time: Duration::from_secs(20) };

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
