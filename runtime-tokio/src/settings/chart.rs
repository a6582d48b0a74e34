//! Holds the chart's values and their schema to the list of settings.

use super::{Allowed, SETTINGS};
use serde_json::{Value, json};

const VALUES: &str = include_str!("../../../charts/message-streaming-app/values.yaml");
const SCHEMA: &str = include_str!("../../../charts/message-streaming-app/values.schema.json");

/// The smallest port in a pod: its user may not take a lower one, and nobody would find port 0.
const POD_PORT: u64 = 1024;

#[test]
fn the_charts_settings_are_ours_with_our_defaults() {
    let block = VALUES
        .lines()
        .skip_while(|line| *line != "settings:")
        .skip(1)
        .take_while(|line| line.starts_with("  "));
    let in_chart: Vec<_> = block
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect();
    // The chart's numbers are plain ones.
    let ours: Vec<_> = SETTINGS
        .iter()
        .map(|it| (it.name, it.allowed.canonical(it.default).unwrap()))
        .collect();
    let ours: Vec<_> = ours.iter().map(|(name, it)| (*name, it.as_str())).collect();
    assert_eq!(in_chart, ours);
}

#[test]
fn the_charts_schema_allows_what_we_allow() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let settings = &schema["properties"]["settings"];
    assert_eq!(settings["additionalProperties"], json!(false));
    assert_eq!(
        settings["required"],
        json!(SETTINGS.iter().map(|it| it.name).collect::<Vec<_>>())
    );
    let mut in_chart = settings["properties"].as_object().unwrap().clone();
    for setting in SETTINGS {
        let name = setting.name;
        let mut found = in_chart.remove(name).unwrap_or_default();
        if let Some(found) = found.as_object_mut() {
            found.remove("description");
            // What an address is, a schema can only say roughly.
            found.remove("pattern");
        }
        let expected = match setting.allowed {
            Allowed::Port { or_off } => {
                let port = json!({ "type": "integer", "minimum": POD_PORT, "maximum": u16::MAX });
                // The chart's Service leads to TCP_PORT, so there it is on.
                if or_off && name != "TCP_PORT" {
                    json!({ "anyOf": [{ "const": "off" }, port] })
                } else {
                    port
                }
            }
            Allowed::Size {
                min,
                max,
                or_zero: true,
            }
            | Allowed::Time {
                min,
                max,
                or_zero: true,
            } => {
                json!({
                    "anyOf": [{ "const": 0 }, { "type": "integer", "minimum": min, "maximum": max }]
                })
            }
            Allowed::Number { min, max, .. }
            | Allowed::Size { min, max, .. }
            | Allowed::Time { min, max, .. } => {
                json!({ "type": "integer", "minimum": min, "maximum": max })
            }
            Allowed::WordOrTime { words, min, max } => {
                json!({
                    "anyOf": [{ "enum": words }, { "type": "integer", "minimum": min, "maximum": max }]
                })
            }
            Allowed::OneOf(words) => json!({ "enum": words }),
            Allowed::IpAddress
            | Allowed::Directory
            | Allowed::File
            | Allowed::Topic
            | Allowed::Wildcards
            | Allowed::Networks
            | Allowed::Text
            | Allowed::LogFilter => {
                json!({ "type": "string" })
            }
        };
        assert_eq!(found, expected, "{name}");
    }
    assert!(in_chart.is_empty(), "not settings: {in_chart:?}");
}
