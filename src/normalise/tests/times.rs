//! Points in time: formats, zones, changes of clocks, and the acceptance window.

use crate::normalise::profile::{AmbiguousTime, Profile};
use crate::normalise::tests::{be, decoded, local, run, spec};
use crate::normalise::{Accept, Normaliser};
use crate::record::field::{Codec, Field, FieldSpec, TimeFormat, TimeZoneChoice};
use crate::record::reject::Reason;
use crate::record::time::Day;

#[test]
fn late_future_and_keyless_events_are_refused() {
    let specs = [spec(Field::Start)];
    let normaliser = Normaliser::new(&be(), &specs).unwrap();
    let at = |day: &str| day.parse::<Day>().unwrap().start_ms();
    let epochs = ["2026-10".parse().unwrap(), "2026-12".parse().unwrap()];
    let accept = Accept { earliest_ms: at("2026-10-02"), latest_ms: at("2026-12-02"), epochs: &epochs };
    let times = [
        "2026-10-01T23:59:59.999Z",
        "2026-10-02T00:00:00Z",
        "2026-11-01T00:00:00Z",
        "2026-12-02T00:00:00Z",
        "2026-12-02T00:00:00.001Z",
        "2026-10-31T23:59:59Z",
    ];
    let rows: Vec<Vec<&str>> = times.iter().map(|t| vec![*t]).collect();
    let (clear, rejects) = normaliser.normalise(&decoded(&specs, &rows), &accept);
    let reasons: Vec<(u32, Reason)> = rejects.iter().map(|r| (r.record, r.reason)).collect();
    assert_eq!(reasons, [(0, Reason::LateEvent), (2, Reason::NoEpochKey), (4, Reason::FutureEvent)]);
    assert_eq!(clear.record, [1, 3, 5]);
}

#[test]
fn local_times_follow_the_zone_and_its_changes_of_clocks() {
    let specs = [local("%Y-%m-%d %H:%M:%S", TimeZoneChoice::Feed)];
    for (policy, text, utc) in [
        (AmbiguousTime::Earlier, "2026-07-01 12:00:00", Ok("2026-07-01T10:00:00Z")),
        (AmbiguousTime::Earlier, "2026-01-01 00:30:00", Ok("2025-12-31T23:30:00Z")),
        (AmbiguousTime::Earlier, "2026-03-29 01:59:59", Ok("2026-03-29T00:59:59Z")),
        (AmbiguousTime::Earlier, "2026-03-29 02:30:00", Err(Reason::NonexistentTime)),
        (AmbiguousTime::Earlier, "2026-03-29 03:00:00", Ok("2026-03-29T01:00:00Z")),
        (AmbiguousTime::Earlier, "2026-10-25 02:30:00", Ok("2026-10-25T00:30:00Z")),
        (AmbiguousTime::Later, "2026-10-25 02:30:00", Ok("2026-10-25T01:30:00Z")),
        (AmbiguousTime::Reject, "2026-10-25 02:30:00", Err(Reason::AmbiguousTime)),
        (AmbiguousTime::Reject, "2026-10-25 03:00:00", Ok("2026-10-25T02:00:00Z")),
        (AmbiguousTime::Reject, "2026-13-25 03:00:00", Err(Reason::InvalidTime)),
    ] {
        let mut profile = be();
        profile.ambiguous_time = policy;
        let (clear, rejects) = run(&profile, &specs, &[vec![text], vec![text]]);
        let found = if rejects.is_empty() { Ok(clear.start_ms.clone()) } else { Err(rejects[1].reason) };
        let expected = utc.map(|t| vec![t.parse::<jiff::Timestamp>().unwrap().as_millisecond(); 2]);
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn time_formats_agree_with_jiff() {
    let expected = "2026-11-02T03:04:05.678Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let time = |format| FieldSpec { field: Field::Start, codec: Codec::Time(format), null: Vec::new() };
    for (format, text) in [
        (time(TimeFormat::Rfc3339), "2026-11-02T03:04:05.678Z"),
        (time(TimeFormat::Rfc3339), "2026-11-02t05:34:05.6789+02:30"),
        (time(TimeFormat::Rfc3339), "2026-11-01 22:04:05.678123456-05:00"),
        (time(TimeFormat::UnixSeconds), &format!("{}.678", expected / 1000)),
        (time(TimeFormat::UnixMillis), &expected.to_string()),
        (time(TimeFormat::UnixMicros), &format!("{expected}999")),
        (local("%d/%m/%y %H:%M:%S.%f", TimeZoneChoice::Utc), "2/11/26 3:4:5.678"),
        (local("%Y%m%d%H%M%S%f", TimeZoneChoice::Utc), "20261102030405678"),
        (local("%Y-%m-%d %H:%M:%S.%f", TimeZoneChoice::Feed), "2026-11-02 04:04:05.678"),
    ] {
        let (clear, rejects) = run(&be(), &[format], &[vec![text]]);
        assert!(rejects.is_empty(), "{text}");
        assert_eq!(clear.start_ms, [expected], "{text}");
    }
    for text in [
        "2026-11-02T03:04:05",
        "2026-11-02T03:04:05+2:00",
        "2026-11-02T03:04:60Z",
        "2026-11-02T03:04:05.Z",
        "26-11-02T03:04:05Z",
        "2026-11-02T03:04:05Zz",
        "１026-11-02T03:04:05Z",
    ] {
        let (_, rejects) = run(&be(), &[time(TimeFormat::Rfc3339)], &[vec![text]]);
        assert_eq!(rejects.len(), 1, "{text}");
    }
}

#[test]
fn a_call_across_the_repeated_hour_has_its_true_length() {
    let mut specs = vec![local("%Y-%m-%d %H:%M", TimeZoneChoice::Feed), local("%Y-%m-%d %H:%M", TimeZoneChoice::Feed)];
    specs[1].field = Field::End;
    let (clear, rejects) = run(&be(), &specs, &[vec!["2026-10-25 02:50", "2026-10-25 02:10"]]);
    assert!(rejects.is_empty());
    assert_eq!(clear.duration_s, [1200]);
}

proptest::proptest! {
    /// The cached clock against jiff's own conversion, over a century and every kind of quarter.
    #[test]
    fn cached_offsets_equal_the_library(seconds in 0i64..3_000_000_000, zone in 0usize..5) {
        let zone = ["Europe/Brussels", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"][zone];
        let civil = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::get(zone).unwrap()).datetime();
        let text = civil.strftime("%Y-%m-%d %H:%M:%S").to_string();
        let specs = [local("%Y-%m-%d %H:%M:%S", TimeZoneChoice::Feed)];
        let (clear, rejects) = run(&Profile::of("BE", zone), &specs, &[vec![&text], vec![&text]]);
        proptest::prop_assert!(rejects.is_empty());
        let twin = civil.to_zoned(jiff::tz::TimeZone::get(zone).unwrap()).unwrap().timestamp().as_millisecond();
        proptest::prop_assert_eq!(&clear.start_ms, &vec![twin; 2]);
    }
}
