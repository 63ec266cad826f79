//! Which SQL may reach the release store: exactly one statement that reads.
//!
//! The guard reads tokens as SQLite does (sqlite.org/lang_expr.html, lang_comment.html,
//! lang_keywords.html): strings, quoted names and comments cannot hide a second statement, nor
//! make a harmless word look like a command.

/// Why a statement was refused, with what to do instead.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("there is no statement to run")]
    Empty,
    #[error("one statement at a time, please: there is more after the first semicolon")]
    Several,
    #[error("only statements that read may run here (SELECT, WITH, VALUES, EXPLAIN), not {0}")]
    NotReading(String),
    #[error("{0} is not available here: the store is read-only and stands alone")]
    Banned(String),
    #[error("the statement ends inside {0}")]
    Unfinished(&'static str),
    #[error("the statement holds a NUL character")]
    Nul,
}

const FIRST: [&str; 4] = ["select", "with", "values", "explain"];

/// Words that begin or belong to statements that change something or reach outside the store.
/// `replace` is a function as well; what it could do as a statement, `into` says. Blobs of zeros or of
/// chance are of no use here but to take memory.
const BANNED: [&str; 24] = [
    "attach",
    "detach",
    "pragma",
    "insert",
    "update",
    "delete",
    "into",
    "create",
    "drop",
    "alter",
    "vacuum",
    "reindex",
    "analyze",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "load_extension",
    "readfile",
    "writefile",
    "fts3_tokenizer",
    "zeroblob",
    "randomblob",
];

pub fn check(sql: &str) -> Result<(), Refusal> {
    if sql.contains('\0') {
        return Err(Refusal::Nul);
    }
    let mut first = true;
    let mut ended = false;
    let mut rest = sql;
    while let Some((token, after)) = next(rest)? {
        rest = after;
        match token {
            Token::Semicolon => ended |= !first,
            _ if ended => return Err(Refusal::Several),
            Token::Other if first => return Err(Refusal::NotReading("this".to_owned())),
            Token::Other => {}
            Token::Word(word) => {
                let word = word.to_ascii_lowercase();
                if first && !FIRST.contains(&word.as_str()) {
                    return Err(Refusal::NotReading(word.to_ascii_uppercase()));
                }
                if BANNED.contains(&word.as_str()) || word.starts_with("pragma_") {
                    return Err(Refusal::Banned(word.to_ascii_uppercase()));
                }
            }
            Token::Quoted(name) => {
                // A quoted name may be a function's, and it is called all the same.
                let name = name.to_ascii_lowercase();
                let functions = ["load_extension", "readfile", "writefile", "fts3_tokenizer", "zeroblob", "randomblob"];
                if functions.contains(&name.as_str()) || name.starts_with("pragma_") {
                    return Err(Refusal::Banned(name.to_ascii_uppercase()));
                }
            }
        }
        first &= matches!(token, Token::Semicolon);
    }
    if first { Err(Refusal::Empty) } else { Ok(()) }
}

#[derive(Clone, Copy)]
enum Token<'a> {
    Word(&'a str),
    /// A name in double quotes, backticks or brackets.
    Quoted(&'a str),
    Semicolon,
    /// Strings, numbers, operators.
    Other,
}

/// The next token and what follows it; spaces and comments are skipped.
fn next(mut sql: &str) -> Result<Option<(Token<'_>, &str)>, Refusal> {
    loop {
        // SQLite takes a byte order mark for a space, wherever a token may begin.
        sql = sql.trim_start_matches([' ', '\t', '\n', '\r', '\x0c', '\u{feff}']);
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.split_once('\n').map_or("", |c| c.1);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            sql = comment.split_once("*/").ok_or(Refusal::Unfinished("a comment"))?.1;
        } else {
            break;
        }
    }
    let Some(first) = sql.chars().next() else { return Ok(None) };
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || (!c.is_ascii() && c != '\u{feff}');
    let (token, end) = match first {
        ';' => (Token::Semicolon, 1),
        '\'' => (Token::Other, quoted(sql, '\'', "a string")?),
        '"' | '`' => {
            let end = quoted(sql, first, "a quoted name")?;
            (Token::Quoted(&sql[1..end - 1]), end)
        }
        '[' => {
            let end = sql.find(']').ok_or(Refusal::Unfinished("a name in brackets"))? + 1;
            (Token::Quoted(&sql[1..end - 1]), end)
        }
        c if name(c) && !c.is_ascii_digit() => {
            let end = sql.find(|c| !name(c)).unwrap_or(sql.len());
            (Token::Word(&sql[..end]), end)
        }
        c if c.is_ascii_digit() => (Token::Other, sql.find(|c| !name(c)).unwrap_or(sql.len())),
        c => (Token::Other, c.len_utf8()),
    };
    Ok(Some((token, &sql[end..])))
}

/// Length of a quoted run at the start of `sql`; a doubled quote stands for itself.
fn quoted(sql: &str, quote: char, what: &'static str) -> Result<usize, Refusal> {
    let mut at = 1;
    loop {
        at += sql[at..].find(quote).ok_or(Refusal::Unfinished(what))? + 1;
        if !sql[at..].starts_with(quote) {
            return Ok(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_passes() {
        for sql in [
            "SELECT 1",
            "select hour, sum(records) from traffic_hourly group by hour order by 2 desc limit 5;",
            "  -- a remark; drop table x\n SELECT 1 ; ; -- done;\n",
            "/* ; */ WITH t AS (SELECT 1 AS n) SELECT n FROM t /* ; */",
            "VALUES (1, 'a;b'), (2, 'it''s; fine')",
            "EXPLAIN QUERY PLAN SELECT * FROM traffic_hourly",
            "SELECT 'DROP TABLE x; ATTACH ''y''' AS \"delete\"",
            "SELECT replace(hour, 'T', ' ') AS [update] FROM traffic_hourly",
            "SELECT 1 AS `insert`, -1.5e3, x'00'",
        ] {
            assert_eq!(check(sql), Ok(()), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let reading = |w: &str| Refusal::NotReading(w.to_owned());
        let banned = |w: &str| Refusal::Banned(w.to_owned());
        for (sql, refusal) in [
            ("", Refusal::Empty),
            (" ; -- nothing", Refusal::Empty),
            ("/* nothing */", Refusal::Empty),
            ("INSERT INTO t VALUES (1)", reading("INSERT")),
            ("update t set a = 1", reading("UPDATE")),
            ("DELETE FROM t", reading("DELETE")),
            ("REPLACE INTO t VALUES (1)", reading("REPLACE")),
            ("DROP TABLE t", reading("DROP")),
            ("CREATE TABLE t (a)", reading("CREATE")),
            ("ATTACH '/tmp/x' AS x", reading("ATTACH")),
            ("PRAGMA query_only = OFF", reading("PRAGMA")),
            ("VACUUM INTO '/tmp/copy'", reading("VACUUM")),
            ("BEGIN", reading("BEGIN")),
            ("/**/ -- x\n dElEtE FROM t", reading("DELETE")),
            ("(SELECT 1)", reading("this")),
            ("SELECT 1; SELECT 2", Refusal::Several),
            ("SELECT 1; DROP TABLE t", Refusal::Several),
            ("SELECT ';'; --\nATTACH 'x' AS y", Refusal::Several),
            ("SELECT 1;/*x*/PRAGMA writable_schema=1", Refusal::Several),
            ("WITH t AS (SELECT 1) INSERT INTO u SELECT * FROM t", banned("INSERT")),
            ("WITH t AS (SELECT 1) DELETE FROM u", banned("DELETE")),
            ("WITH t AS (SELECT 1) UPDATE u SET a = 1", banned("UPDATE")),
            ("WITH t AS (SELECT 1) REPLACE INTO u SELECT 1", banned("INTO")),
            ("EXPLAIN PRAGMA user_version", banned("PRAGMA")),
            ("SELECT load_extension('/tmp/x.so')", banned("LOAD_EXTENSION")),
            ("SELECT \"load_extension\"('/tmp/x.so')", banned("LOAD_EXTENSION")),
            ("SELECT * FROM pragma_database_list", banned("PRAGMA_DATABASE_LIST")),
            ("SELECT * FROM [pragma_database_list]", banned("PRAGMA_DATABASE_LIST")),
            ("SELECT * FROM \u{feff}pragma_database_list", banned("PRAGMA_DATABASE_LIST")),
            ("SELECT \u{feff}load_extension('/tmp/x.so')", banned("LOAD_EXTENSION")),
            ("SELECT zeroblob(900000000)", banned("ZEROBLOB")),
            ("SELECT \"RandomBlob\"(9)", banned("RANDOMBLOB")),
            ("SELECT writefile('/tmp/x', 'y')", banned("WRITEFILE")),
            ("SELECT 'open", Refusal::Unfinished("a string")),
            ("SELECT \"open", Refusal::Unfinished("a quoted name")),
            ("SELECT [open", Refusal::Unfinished("a name in brackets")),
            ("SELECT 1 /* open", Refusal::Unfinished("a comment")),
            ("SELECT 1\0; DROP TABLE t", Refusal::Nul),
        ] {
            assert_eq!(check(sql), Err(refusal), "{sql:?}");
        }
    }
}
