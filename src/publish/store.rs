//! The SQLite release store. What stands in it is safe to read in any combination.

use super::PublishError;
use crate::record::time::Day;
use crate::release::released::Released;
use crate::release::rules::Withheld;
use crate::release::window::{CellValues, WindowValues};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LAYOUT: i64 = 1;

/// Tables and the view, for people who read the store with other tools as well.
const TABLES: &str = include_str!("../../schemas/release/store.sql");

const INSERT_CELL: &str = "-- insert_cell
INSERT OR IGNORE INTO traffic_hourly_vintages (hour, vintage, service, direction, a_country, b_country, network,
  currency, records, answered, seconds, bytes, charge, a_parties, b_parties, withheld)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const INSERT_WINDOW: &str = "-- insert_window
INSERT OR IGNORE INTO traffic_hourly_windows (hour, vintage, cells, withheld_few_a, withheld_few_b,
  withheld_inner_audience, withheld_dominance, withheld_partners)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// A store open for writing.
pub struct Store {
    path: PathBuf,
    connection: SqliteConnection,
}

impl Store {
    /// Opens the store, or makes it. A rollback journal and not a log beside the file, so that
    /// readers need nothing but the right to read it.
    pub async fn open(path: &Path) -> Result<Store, PublishError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30))
            .disable_statement_logging();
        let failed = failed(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(sqlx::Error::Io(e)))?;
        }
        let connection = options.connect().await.map_err(&failed)?;
        let mut store = Store { path: path.to_owned(), connection };
        store.make_tables().await?;
        Ok(store)
    }

    /// Names of the release files that stand in the store.
    pub async fn taken(&mut self) -> Result<HashSet<String>, PublishError> {
        let rows = sqlx::query("-- taken\nSELECT file FROM release_files").fetch_all(&mut self.connection).await;
        Ok(rows.map_err(failed(&self.path))?.iter().map(|r| r.get(0)).collect())
    }

    /// Puts the windows of one release file, all or none, once.
    pub async fn take(&mut self, file: &str, windows: &[&Released<WindowValues>]) -> Result<(), PublishError> {
        let failed = failed(&self.path);
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        for window in windows {
            insert_window(&mut transaction, window).await.map_err(&failed)?;
            for cell in &window.cells {
                insert_cell(&mut transaction, window, cell).await.map_err(&failed)?;
            }
        }
        let mark = sqlx::query("-- mark\nINSERT OR IGNORE INTO release_files (file) VALUES (?)").bind(file);
        mark.execute(&mut *transaction).await.map_err(&failed)?;
        transaction.commit().await.map_err(&failed)
    }

    pub async fn close(self) -> Result<(), PublishError> {
        self.connection.close().await.map_err(failed(&self.path))
    }

    async fn make_tables(&mut self) -> Result<(), PublishError> {
        let failed = failed(&self.path);
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let found: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *transaction).await.map_err(&failed)?;
        if found == 0 {
            sqlx::raw_sql(TABLES).execute(&mut *transaction).await.map_err(&failed)?;
            let version = AssertSqlSafe(format!("PRAGMA user_version = {LAYOUT}"));
            sqlx::raw_sql(version).execute(&mut *transaction).await.map_err(&failed)?;
        } else if found != LAYOUT {
            return Err(PublishError::Layout { path: self.path.clone(), found, known: LAYOUT });
        }
        transaction.commit().await.map_err(&failed)
    }
}

async fn insert_window(connection: &mut SqliteConnection, window: &WindowValues) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(INSERT_WINDOW)
        .bind(hour_text(window.hour))
        .bind(i64::from(window.vintage))
        .bind(window.cells.len() as i64);
    for why in Withheld::ALL {
        query = query.bind(window.withheld.get(&why).copied().unwrap_or(0));
    }
    query.execute(connection).await.map(|_| ())
}

async fn insert_cell(
    connection: &mut SqliteConnection,
    window: &WindowValues,
    cell: &CellValues,
) -> Result<(), sqlx::Error> {
    let key = &cell.key;
    let [seconds, bytes, charge] = cell.sums;
    let [a_country, b_country, network, currency] = cell.places();
    sqlx::query(INSERT_CELL)
        .bind(hour_text(window.hour))
        .bind(i64::from(window.vintage))
        .bind(key.service.name())
        .bind(key.direction.name())
        .bind(a_country)
        .bind(b_country)
        .bind(network)
        .bind(currency)
        .bind(cell.records)
        .bind(cell.answered)
        .bind(seconds)
        .bind(bytes)
        .bind(charge.map(|micro| micro as f64 / 1e6))
        .bind(cell.a_parties)
        .bind(cell.b_parties)
        .bind(cell.withheld_names())
        .execute(connection)
        .await
        .map(|_| ())
}

/// `2026-11-22T14:00:00Z`.
pub fn hour_text(hour: i32) -> String {
    format!("{}T{:02}:00:00Z", Day(hour.div_euclid(24)), hour.rem_euclid(24))
}

fn failed(path: &Path) -> impl Fn(sqlx::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Store { path: path.clone(), source }
}
