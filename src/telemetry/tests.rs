use super::*;
use std::collections::BTreeSet;

/// A page of one feed with a recorder of its own.
fn page(tell: impl FnOnce(&mut Feed)) -> String {
    let (recorder, telemetry) = Telemetry::new();
    metrics::with_local_recorder(&recorder, || {
        describe();
        let mut feed = telemetry.feed("calls", ["late_event", "nul_byte"].into_iter(), ["heartbeat"].into_iter());
        tell(&mut feed);
        telemetry.page()
    })
}

fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn counters_begin_at_zero_by_every_reason_and_rule() {
    let page = page(|_| ());
    for metric in METRICS.iter().filter(|m| m.kind == Kind::Counter && m.labels == ["feed"]) {
        assert_eq!(value(&page, &format!("{}{{feed=\"calls\"}}", metric.name)), Some(0.0), "{}\n{page}", metric.name);
    }
    for series in [
        "cdrveil_records_quarantined_total{feed=\"calls\",reason=\"nul_byte\"}",
        "cdrveil_records_quarantined_total{feed=\"calls\",reason=\"late_event\"}",
        "cdrveil_records_dropped_total{feed=\"calls\",rule=\"heartbeat\"}",
        "cdrveil_sink_transactions_total{feed=\"calls\",outcome=\"aborted\"}",
        "cdrveil_queue_blocks{feed=\"calls\"}",
        "cdrveil_sink_lag_offsets{feed=\"calls\"}",
    ] {
        assert_eq!(value(&page, series), Some(0.0), "{series}");
    }
    assert!(value(&page, "cdrveil_resident_bytes").unwrap() > 1e6);
}

#[test]
fn a_commit_moves_every_counter_by_what_it_brought() {
    let page = page(|feed| {
        let committed = Committed {
            records_in: 10,
            veiled: 5,
            joined: 1,
            bytes: 1000,
            quarantined: vec![("late_event", 2), ("new_reason", 1)],
            dropped: vec![("heartbeat", 1)],
            batches: 1,
            batch: Some(Duration::from_millis(300)),
            commit: Some(Duration::from_millis(20)),
        };
        feed.committed(&committed);
        feed.committed(&committed);
        feed.batches_dropped(1);
        feed.offsets_skipped(7);
        let sink = feed.sink();
        sink.committed(4, 2);
        sink.aborted();
        sink.lag(17);
    });
    for (series, expected) in [
        ("cdrveil_records_in_total{feed=\"calls\"}", 20.0),
        ("cdrveil_records_veiled_total{feed=\"calls\"}", 10.0),
        ("cdrveil_records_joined_total{feed=\"calls\"}", 2.0),
        ("cdrveil_records_late_total{feed=\"calls\"}", 4.0),
        ("cdrveil_bytes_in_total{feed=\"calls\"}", 2000.0),
        ("cdrveil_batches_committed_total{feed=\"calls\"}", 2.0),
        ("cdrveil_batches_dropped_total{feed=\"calls\"}", 1.0),
        ("cdrveil_kafka_offsets_skipped_total{feed=\"calls\"}", 7.0),
        ("cdrveil_records_quarantined_total{feed=\"calls\",reason=\"late_event\"}", 4.0),
        ("cdrveil_records_quarantined_total{feed=\"calls\",reason=\"new_reason\"}", 2.0),
        ("cdrveil_records_dropped_total{feed=\"calls\",rule=\"heartbeat\"}", 2.0),
        ("cdrveil_sink_records_total{feed=\"calls\"}", 4.0),
        ("cdrveil_sink_transactions_total{feed=\"calls\",outcome=\"committed\"}", 1.0),
        ("cdrveil_sink_transactions_total{feed=\"calls\",outcome=\"aborted\"}", 1.0),
        ("cdrveil_sink_dead_letters_total{feed=\"calls\"}", 2.0),
        ("cdrveil_sink_lag_offsets{feed=\"calls\"}", 17.0),
        ("cdrveil_batch_seconds_count{feed=\"calls\"}", 2.0),
        ("cdrveil_batch_seconds_bucket{feed=\"calls\",le=\"0.25\"}", 0.0),
        ("cdrveil_batch_seconds_bucket{feed=\"calls\",le=\"0.5\"}", 2.0),
        ("cdrveil_commit_seconds_bucket{feed=\"calls\",le=\"0.025\"}", 2.0),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series}\n{page}");
    }
}

#[test]
fn a_partition_that_went_away_is_told_no_more() {
    let of = |partition| Partition {
        topic: "cdr.voice".into(),
        partition,
        lag_offsets: Some(3),
        lag: Some(Duration::from_millis(1500)),
        offset: Some(41),
        watermark_ms: Some(1_000),
    };
    let both = page(|feed| feed.partitions(vec![of(0), of(1)]));
    let labels = "{feed=\"calls\",topic=\"cdr.voice\",partition=\"1\"}";
    assert_eq!(value(&both, &format!("cdrveil_kafka_lag_offsets{labels}")), Some(3.0));
    assert_eq!(value(&both, &format!("cdrveil_kafka_lag_seconds{labels}")), Some(1.5));
    assert_eq!(value(&both, &format!("cdrveil_kafka_offset{labels}")), Some(41.0));
    assert_eq!(value(&both, "cdrveil_watermark_seconds{feed=\"calls\",partition=\"cdr.voice-1\"}"), Some(1.0));
    let one = page(|feed| {
        feed.partitions(vec![of(0), of(1)]);
        feed.partitions(vec![Partition { lag_offsets: None, ..of(0) }]);
    });
    assert!(!one.contains("partition=\"1\"") && !one.contains("voice-1"), "{one}");
    assert_eq!(value(&one, "cdrveil_kafka_lag_offsets{feed=\"calls\",topic=\"cdr.voice\",partition=\"0\"}"), None);
    let files = page(|feed| feed.partitions(vec![Partition { watermark_ms: Some(5_000), ..Partition::default() }]));
    assert_eq!(value(&files, "cdrveil_watermark_seconds{feed=\"calls\",partition=\"files\"}"), Some(5.0));
}

/// What is documented, what there is, and what the page says, are one list.
#[test]
fn the_documented_metrics_are_those_of_the_page() {
    let page = page(|feed| {
        feed.committed(&Committed {
            batch: Some(Duration::ZERO),
            commit: Some(Duration::ZERO),
            ..Committed::default()
        });
    });
    let types: BTreeSet<&str> =
        page.lines().filter_map(|l| l.strip_prefix("# TYPE ")).filter_map(|l| l.split(' ').next()).collect();
    let helps: BTreeSet<&str> =
        page.lines().filter_map(|l| l.strip_prefix("# HELP ")).filter_map(|l| l.split(' ').next()).collect();
    let there: BTreeSet<&str> = METRICS.iter().map(|m| m.name).collect();
    assert_eq!(types, there);
    assert_eq!(helps, there);
    let documented: Vec<String> = include_str!("../../schemas/telemetry/metrics.md")
        .lines()
        .filter(|l| l.starts_with("| `cdrveil_"))
        .map(str::to_owned)
        .collect();
    let expected: Vec<String> = METRICS
        .iter()
        .map(|m| {
            let kind = match m.kind {
                Kind::Counter => "counter",
                Kind::Gauge | Kind::PerPartition => "gauge",
                Kind::Histogram => "histogram",
            };
            format!("| `{}` | {kind} | {} | {} | {} |", m.name, m.unit, m.labels.join(", "), m.help)
        })
        .collect();
    assert_eq!(documented, expected, "schemas/telemetry/metrics.md should hold:\n{}", expected.join("\n"));
}
