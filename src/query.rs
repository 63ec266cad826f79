//! Questions to the release store: one SQL statement, rows back, nothing changed.
//!
//! Everything in the store may be read, so the guard protects the store and the machine, not the
//! data: the file is opened read-only, `query_only` is on, and `guard` lets through one statement
//! that reads.

pub mod guard;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows in the order and with the names of the statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

/// A value as SQLite has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// Bounds of one statement.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows: usize,
    pub time: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("no release store at {0}: nothing has been released yet")]
    NoStore(PathBuf),
    #[error("{0}")]
    Refused(#[from] guard::Refusal),
    #[error("{0}")]
    Sql(String),
    #[error("more than {0} rows: add LIMIT, or aggregate")]
    TooManyRows(usize),
    #[error("stopped after {} s: narrow the question, or raise --timeout-s", .0.as_secs())]
    TooLong(Duration),
}

/// Asks the store one statement.
pub async fn ask(store: &Path, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
    guard::check(sql)?;
    let mut connection = open(store).await?;
    let started = Instant::now();
    watch(&mut connection, started, limits.time).await?;
    let failed = |e: sqlx::Error| {
        if started.elapsed() >= limits.time { QueryError::TooLong(limits.time) } else { QueryError::Sql(text_of(&e)) }
    };
    let statement = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map_err(failed)?;
    let columns = statement.columns().iter().map(|c| c.name().to_owned()).collect();
    let mut rows = Vec::new();
    {
        use futures::TryStreamExt;
        let mut stream = statement.query().fetch(&mut connection);
        while let Some(row) = stream.try_next().await.map_err(failed)? {
            if rows.len() == limits.rows {
                return Err(QueryError::TooManyRows(limits.rows));
            }
            rows.push(values(&row).map_err(|e| QueryError::Sql(text_of(&e)))?);
        }
    }
    connection.close().await.map_err(failed)?;
    Ok(Answer { columns, rows })
}

/// A table or view of the store, and its columns.
pub struct Shape {
    pub table: String,
    pub columns: Vec<String>,
}

/// What may be asked about: views and tables by name.
pub async fn shapes(store: &Path) -> Result<Vec<Shape>, QueryError> {
    let sql = "-- shapes
SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'release_files' ORDER BY m.name, c.cid";
    let mut connection = open(store).await?;
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.map_err(|e| QueryError::Sql(text_of(&e)))?;
    let mut shapes: Vec<Shape> = Vec::new();
    for row in rows {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        match shapes.last_mut() {
            Some(shape) if shape.table == table => shape.columns.push(column),
            _ => shapes.push(Shape { table, columns: vec![column] }),
        }
    }
    Ok(shapes)
}

/// Read-only in two ways: the file is opened so, and the connection refuses writes.
async fn open(store: &Path) -> Result<SqliteConnection, QueryError> {
    if !store.is_file() {
        return Err(QueryError::NoStore(store.to_owned()));
    }
    let options = SqliteConnectOptions::new()
        .filename(store)
        .read_only(true)
        .create_if_missing(false)
        .pragma("query_only", "ON")
        .pragma("trusted_schema", "OFF")
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging();
    options.connect().await.map_err(|e| QueryError::Sql(text_of(&e)))
}

/// Ends the statement when its time is over.
async fn watch(connection: &mut SqliteConnection, started: Instant, time: Duration) -> Result<(), QueryError> {
    let mut handle = connection.lock_handle().await.map_err(|e| QueryError::Sql(text_of(&e)))?;
    handle.set_progress_handler(10_000, move || started.elapsed() < time);
    Ok(())
}

fn values(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.columns().len())
        .map(|i| {
            let raw = row.try_get_raw(i)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info();
            Ok(match kind.name() {
                "INTEGER" => Value::Integer(row.try_get_unchecked(i)?),
                "REAL" => Value::Real(row.try_get_unchecked(i)?),
                "BLOB" => Value::Blob(row.try_get_unchecked(i)?),
                _ => Value::Text(row.try_get_unchecked(i)?),
            })
        })
        .collect()
}

/// SQLite's own words, without the wrapping.
fn text_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
