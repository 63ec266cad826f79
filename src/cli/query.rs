//! `cdrveil query`: one SQL statement over the release store.

use super::context::Context;
use super::error::CliError;
use crate::publish::store_path;
use crate::query::{self, Answer, Limits, QueryError, Value};
use crate::release::rules::Audience;
use comfy_table::CellAlignment;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Ask the released aggregates one SQL question
///
/// Everything in the release store has passed the rules of release, so any statement that reads is
/// welcome; anything else is refused. Without --sql, lists what there is to ask.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  cdrveil query                                          what there is to ask
  cdrveil query --sql \"SELECT hour, service, records FROM traffic_hourly ORDER BY hour\"
  cdrveil query --format csv --sql \"SELECT * FROM traffic_hourly\" > cells.csv
  cdrveil query --sql \"SELECT * FROM traffic_hourly_windows\"   how much of each hour is withheld, and why")]
pub struct QueryArgs {
    /// One statement: SELECT, WITH, VALUES or EXPLAIN
    #[arg(long, value_name = "STATEMENT")]
    sql: Option<String>,
    /// How rows are written; with --json always JSON
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Whose release is asked
    #[arg(long, value_enum, default_value_t = Whose::Internal)]
    audience: Whose,
    /// Stop the statement after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout_s: u64,
    /// Refuse answers of more rows
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    max_rows: usize,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Csv,
    Json,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Internal,
    External,
}

/// Memory for an answer; as text it takes some times as much.
pub const ANSWER_BYTES: usize = 256 << 20;

const SAMPLE: &str =
    "SELECT hour, service, sum(records) AS records FROM traffic_hourly GROUP BY hour, service ORDER BY hour";

/// Runs the statement and writes rows to stdout; a statement that is refused or wrong is wrong usage.
pub fn run(args: QueryArgs, context: &Context) -> Result<(), CliError> {
    let audience = if args.audience == Whose::Internal { Audience::Internal } else { Audience::External };
    let store = store_path(&context.site()?.release.store, audience);
    let format = if context.json { Format::Json } else { args.format };
    let text = match &args.sql {
        None => listing(&finished(query::shapes(&store))?, format, context),
        Some(sql) => {
            let limits = Limits { rows: args.max_rows, time: Duration::from_secs(args.timeout_s), bytes: ANSWER_BYTES };
            written(&ask(&store, sql, limits)?, format, context)
        }
    };
    context.print_lines(&[text.trim_end_matches('\n').to_owned()]);
    Ok(())
}

/// Asks a store one statement; `demo` does, too.
pub fn ask(store: &Path, sql: &str, limits: Limits) -> Result<Answer, CliError> {
    finished(query::ask(store, sql, limits))
}

fn finished<T>(question: impl Future<Output = Result<T, QueryError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| CliError::failed(format!("cannot start: {e}")))?;
    runtime.block_on(question).map_err(|e| match e {
        QueryError::NoStore(_) => CliError::failed(e.to_string()).fix("run `cdrveil steward --once`"),
        e => CliError::usage(e.to_string()),
    })
}

fn written(answer: &Answer, format: Format, context: &Context) -> String {
    match format {
        Format::Table => as_table(answer, context),
        Format::Csv => as_csv(answer),
        Format::Json => as_json(answer),
    }
}

/// Borders and the number of rows are for people: piped, there are columns and nothing else.
fn as_table(answer: &Answer, context: &Context) -> String {
    let head: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
    let mut table = context.table(&head);
    for row in &answer.rows {
        table.add_row(row.iter().map(plain));
    }
    for i in 0..answer.columns.len() {
        let numbers = answer.rows.iter().all(|r| matches!(r[i], Value::Integer(_) | Value::Real(_) | Value::Null));
        if let Some(column) = table.column_mut(i).filter(|_| numbers && !answer.rows.is_empty()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: String = table.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect();
    match answer.rows.len() {
        _ if !context.terminal => lines,
        1 => lines + "1 row\n",
        n => format!("{lines}{n} rows\n"),
    }
}

/// RFC 4180, with line feeds; null is an empty field.
fn as_csv(answer: &Answer) -> String {
    let mut text = String::new();
    let fields = |fields: &mut dyn Iterator<Item = String>| fields.map(|f| csv_field(&f)).collect::<Vec<_>>().join(",");
    let _ = writeln!(text, "{}", fields(&mut answer.columns.iter().cloned()));
    for row in &answer.rows {
        let _ = writeln!(text, "{}", fields(&mut row.iter().map(plain)));
    }
    text
}

fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// An array of objects, one line each. Of two columns with one name the later wins, as ever in JSON.
fn as_json(answer: &Answer) -> String {
    let object = |row: &Vec<Value>| {
        let pairs = answer.columns.iter().cloned().zip(row.iter().map(json_value));
        serde_json::Value::Object(pairs.collect())
    };
    let rows: Vec<String> = answer.rows.iter().map(|r| format!("  {}", object(r))).collect();
    if rows.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", rows.join(",\n")) }
}

fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(i) => (*i).into(),
        Value::Real(r) => (*r).into(),
        _ => plain(value).into(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(i) => i.to_string(),
        Value::Real(r) => r.to_string(),
        Value::Text(t) => t.clone(),
        Value::Blob(b) => b.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn listing(shapes: &[query::Shape], format: Format, context: &Context) -> String {
    if format != Format::Table {
        let rows = shapes.iter().flat_map(|s| s.columns.iter().map(|c| vec![text(&s.table), text(c)])).collect();
        return written(&Answer { columns: vec!["table".into(), "column".into()], rows }, format, context);
    }
    let mut out = String::from("What can be asked (schemas/release/store.sql says what each column is):\n\n");
    for shape in shapes {
        let _ = writeln!(out, "  {}\n      {}", shape.table, shape.columns.join(", "));
    }
    let _ = write!(out, "\nTry:\n\n  cdrveil query --sql \"{SAMPLE}\"\n");
    out
}

fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::Environment;

    fn answer() -> Answer {
        let rows = vec![
            vec![text("a,\"b\""), Value::Integer(-3), Value::Null],
            vec![text("x"), Value::Real(1.5), Value::Blob(vec![0, 255])],
        ];
        Answer { columns: ["t", "n", "b"].map(str::to_owned).to_vec(), rows }
    }

    #[test]
    fn rows_are_written_as_csv_json_and_table() {
        assert_eq!(as_csv(&answer()), "t,n,b\n\"a,\"\"b\"\"\",-3,\nx,1.5,00ff\n");
        let json: serde_json::Value = serde_json::from_str(&as_json(&answer())).unwrap();
        assert_eq!(json[0], serde_json::json!({"t": "a,\"b\"", "n": -3, "b": null}));
        assert_eq!(json[1]["n"], 1.5);
        let mut context = Context::new(None, false, Environment::default());
        for (terminal, bordered, counted) in [(true, true, true), (false, false, false)] {
            context.terminal = terminal;
            let table = as_table(&answer(), &context);
            assert!(table.contains("-3"), "{table}");
            assert_eq!((table.contains('│'), table.ends_with("2 rows\n")), (bordered, counted), "{table}");
            assert_eq!(table.lines().count(), if terminal { 7 } else { 3 }, "{table}");
        }
        let none = Answer { columns: vec!["a".into()], rows: vec![] };
        assert_eq!((as_json(&none).as_str(), as_csv(&none).as_str()), ("[]\n", "a\n"));
    }
}
