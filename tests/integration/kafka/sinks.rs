//! The sink on its own: recipients that are not registered, and a process that does not write the lake.

use super::cluster::shared;
use super::scene::{RECIPIENT, Scene, Settings};

#[test]
fn a_recipient_without_keys_is_told_with_the_command_that_registers_it() {
    let cluster = shared();
    let scene = Scene::new(&cluster, "nobody", &[1], Settings { sink: true, ..Settings::default() });
    let toml = std::fs::read_to_string(scene.home.path("cdrveil.toml")).unwrap();
    std::fs::write(scene.home.path("cdrveil.toml"), toml.replace(RECIPIENT, "acme/contract-18")).unwrap();
    let run = scene.start(scene.until_idle(2)).end();
    let error = run.error();
    assert_eq!(run.code, 3, "{error}");
    assert!(error["fix"].as_str().unwrap().contains("cdrveil-vault recipient add acme/contract-18"), "{error}");
    // Registered while nothing runs, it is found at the next start.
    let added = scene.home.run_vault(["recipient", "add", "acme/contract-18"]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    scene.finish();
}

#[test]
fn a_process_that_writes_the_topic_only_leaves_the_lake_to_another() {
    let cluster = shared();
    let mut scene = Scene::new(&cluster, "alone", &[2], Settings { sink: true, ..Settings::default() });
    scene.produce(3_000, &["--shape", "blocks"]);
    scene.change(|s| s.sink_lines = vec!["lake = false".into()]);
    let alone = scene.finish();
    assert_eq!((&alone["sink"]["sent"], &alone["veiled"]), (&3_000.into(), &0.into()), "{alone}");
    assert!(!scene.home.path("lake/_batches/calls").exists(), "nothing of the lake was touched");
    scene.change(|s| s.sink_lines.clear());
    let both = scene.finish();
    assert_eq!((&both["sink"]["sent"], &both["veiled"]), (&0.into(), &3_000.into()), "{both}");
    scene.recount("a sink alone, then a lake");
}
