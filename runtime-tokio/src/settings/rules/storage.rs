//! Rules between the settings for what is stored.

use super::super::engines::FEATURES;
use super::super::units::format_size;
use super::super::values::Values;
use super::{Broken, kafka, rabbitmq};
use message_queue_core::{Config, Storage, StoreSettings};

/// The engine that is asked for, and is not in this build.
fn not_built(config: &Config) -> Option<Storage> {
    let missing = FEATURES.into_iter().filter(|(_, is_there)| !is_there);
    let mut missing = missing.map(|(engine, _)| engine);
    missing.find(|engine| config.engines().any(|it| it == *engine))
}

/// The engines that are in a build, as a line says what is allowed: `memory, disk or rabbitmq`.
fn built(features: &[(Storage, bool)]) -> String {
    let more = features.iter().filter(|(_, is_there)| *is_there);
    let mut names = vec![Storage::Memory.name()];
    let mut last = Storage::Disk.name();
    for (engine, _) in more {
        names.push(last);
        last = engine.name();
    }
    format!("{} or {last}", names.join(", "))
}

/// All that is stored is stored in one way, and in one that this build has.
pub(super) fn engine(config: &Config) -> Option<Broken> {
    let name = match config.storage {
        Storage::RocksDb | Storage::RabbitMq | Storage::Kafka => "STORAGE",
        Storage::Memory | Storage::Disk => "TOPICS_FILE",
    };
    if let Some(engine) = not_built(config) {
        let engine = engine.name();
        let built = built(&FEATURES);
        return Some(Broken {
            name,
            others: &[],
            allowed: format!(
                "{built}: {engine} is not in this build; `cargo build --release --features {engine}` makes one \
                 that has it, and so does an image's build argument FEATURES={engine}"
            ),
        });
    }
    let first = config.engines().next()?;
    config.engines().any(|it| it != first).then(|| Broken {
        name: "TOPICS_FILE",
        others: &["STORAGE"],
        allowed: "one engine for all that is stored: a broker keeps all of its topics in one"
            .to_owned(),
    })
}

/// Where no topic is kept in an engine, what is set for it means nothing: these, of which each is set or not.
pub(super) fn without_effect(
    engine: &str,
    storage: Storage,
    settings: &[(&'static str, bool)],
) -> Option<String> {
    let names = settings.iter().filter(|(_, is_set)| *is_set);
    let names: Vec<_> = names.map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "no topic is kept in {engine}, so this has no effect: {}; set STORAGE={}",
            names.join(", "),
            storage.name()
        )
    })
}

/// What is stored needs a folder, and one that nobody else writes to. What is in the folder is not looked at here.
pub(super) fn broken(values: &Values, config: &Config) -> Option<Broken> {
    if !config.may_store() {
        return None;
    }
    if config.may_share() {
        // Where the engine is not in this build, that is what is said.
        return match not_built(config) {
            Some(_) => None,
            None => rabbitmq::broken(values, config).or_else(|| kafka::broken(values, config)),
        };
    }
    match &values.data_dir {
        None => Some(missing(config)),
        data_dir @ Some(_) => (*data_dir == values.record_dir).then(|| Broken {
            name: "DATA_DIR",
            others: &["RECORD_DIR"],
            allowed: "a folder other than RECORD_DIR: the recorder would put its files among what is stored"
                .to_owned(),
        }),
    }
}

fn missing(config: &Config) -> Broken {
    let (others, why): (&'static [&'static str], _) = if config.storage != Storage::Memory {
        let engine = config.storage.name();
        (
            &["STORAGE"],
            format!("STORAGE={engine} stores messages there; STORAGE=memory stores none"),
        )
    } else {
        let mut rules = config.topics.rules.iter();
        let engine = config.engines().next().unwrap_or(Storage::Disk);
        let rule = rules.find(|rule| rule.storage == Some(engine));
        let topics = rule.map_or("", |rule| rule.topics.as_str());
        let engine = engine.name();
        (
            &["TOPICS_FILE"],
            format!(
                "the rule for {topics:?} in TOPICS_FILE has storage = \"{engine}\"; storage = \"memory\" stores nothing"
            ),
        )
    };
    Broken {
        name: "DATA_DIR",
        others,
        allowed: format!(
            "a folder of this broker alone, such as /var/lib/message-queue/data: {why}"
        ),
    }
}

/// What is allowed but does nothing, or not what it seems to.
pub(super) fn warnings(values: &Values, config: &Config) -> [Option<String>; 5] {
    [
        unused(values, config),
        rabbitmq::unused(values, config),
        kafka::unused(values, config),
        whole_segments(config),
        no_segments(config),
    ]
}

/// Segments are of logs.
fn no_segments(config: &Config) -> Option<String> {
    let is_database = config.engines().any(|it| it == Storage::RocksDb);
    let is_default = config.store.segment_bytes == StoreSettings::default().segment_bytes;
    (is_database && !is_default)
        .then(|| "STORAGE=rocksdb has no segments, so SEGMENT_BYTES has no effect".to_owned())
}

/// Without a topic that is stored on a disk of the broker the settings for that mean nothing.
fn unused(values: &Values, config: &Config) -> Option<String> {
    if config.may_store() && !config.may_share() {
        return None;
    }
    let (set, default) = (config.store, StoreSettings::default());
    let names = [
        ("DATA_DIR", values.data_dir.is_some()),
        ("FSYNC", set.fsync != default.fsync),
        ("SEGMENT_BYTES", set.segment_bytes != default.segment_bytes),
        ("RETENTION_MS", set.retention != default.retention),
        (
            "RETENTION_BYTES",
            set.retention_bytes != default.retention_bytes,
        ),
        (
            "RETENTION_SETTLED",
            set.retention_settled != default.retention_settled,
        ),
    ];
    let names: Vec<_> = names
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect();
    if names.is_empty() {
        return None;
    }
    if let Some(engine) = config.engines().find(|it| it.is_shared()) {
        return Some(format!(
            "STORAGE={} keeps nothing on a disk of the broker, so this has no effect: {}",
            engine.name(),
            names.join(", ")
        ));
    }
    Some(format!(
        "nothing is stored, so this has no effect: {}; set STORAGE=disk, or storage = \"disk\" in a rule of \
             TOPICS_FILE",
        names.join(", ")
    ))
}

/// The last segment stays, so a lower bound is none.
fn whole_segments(config: &Config) -> Option<String> {
    let segment = config.store.segment_bytes;
    let retention = config.store.retention_bytes?;
    (config.engines().any(|it| it == Storage::Disk) && retention < segment).then(|| {
        format!(
            "RETENTION_BYTES ({}) is less than SEGMENT_BYTES ({}): whole segments are deleted, and never the last \
             one, so a topic keeps more than that",
            format_size(retention),
            format_size(segment)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::Settings;
    use super::super::super::tests::{error, settings};
    use message_queue_core::Storage;
    use std::path::Path;

    /// A file of topics that holds `text`.
    fn topics(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn what_stores_needs_a_folder() {
        assert_eq!(
            error([("STORAGE", "disk")]),
            "DATA_DIR: \"\" (the default) is not allowed: use a folder of this broker alone, such as \
             /var/lib/message-queue/data: STORAGE=disk stores messages there; STORAGE=memory stores none"
        );
        let file = topics(
            "[[rule]]\ntopics = \"a\"\nstorage = \"memory\"\n\
             [[rule]]\ntopics = \"jobs.>\"\nstorage = \"disk\"\n",
        );
        let path = file.path().to_str().unwrap();
        assert_eq!(
            error([("TOPICS_FILE", path)]),
            "DATA_DIR: \"\" (the default) is not allowed: use a folder of this broker alone, such as \
             /var/lib/message-queue/data: the rule for \"jobs.>\" in TOPICS_FILE has storage = \"disk\"; \
             storage = \"memory\" stores nothing"
        );
        for stores in [("STORAGE", "disk"), ("TOPICS_FILE", path)] {
            let settings = settings([stores, ("DATA_DIR", "/data")]);
            assert!(settings.stores_anything());
            assert_eq!(settings.data_dir(), Some(Path::new("/data")));
            assert_eq!(settings.warnings(), [""; 0]);
        }
    }

    #[test]
    fn all_that_is_stored_is_stored_in_one_way() {
        let file = topics("[[rule]]\ntopics = \"jobs.>\"\nstorage = \"rocksdb\"\n");
        let path = file.path().to_str().unwrap();
        let stored = [
            ("TOPICS_FILE", path),
            ("STORAGE", "disk"),
            ("DATA_DIR", "/data"),
        ];
        let text = Settings::from_variables(stored).unwrap_err().to_string();
        if cfg!(feature = "rocksdb") {
            assert!(text.contains("one engine for all that is stored"), "{text}");
            let settings = settings([("STORAGE", "rocksdb"), ("DATA_DIR", "/data")]);
            assert!(settings.stores_anything());
        } else {
            assert!(text.starts_with("TOPICS_FILE: "), "{text}");
            assert!(text.contains("rocksdb is not in this build"), "{text}");
        }
    }

    /// It is a wrong setting like any other, and says where such a build comes from.
    #[test]
    fn an_engine_that_is_not_in_this_build_is_refused() {
        for (engine, _) in super::FEATURES.iter().filter(|(_, is_there)| !is_there) {
            let engine = engine.name();
            let stored = [("STORAGE", engine), ("DATA_DIR", "/data")];
            let built = super::built(&super::FEATURES);
            let expected = format!(
                "STORAGE: \"{engine}\" is not allowed: use {built}: {engine} is not in this build; `cargo build \
                 --release --features {engine}` makes one that has it, and so does an image's build argument \
                 FEATURES={engine}"
            );
            let told = Settings::from_variables(stored).unwrap_err().to_string();
            assert!(told.starts_with(&expected), "{told}");
        }
    }

    #[test]
    fn what_is_allowed_is_what_is_in_the_build() {
        let built = |rocksdb, rabbitmq| {
            super::built(&[(Storage::RocksDb, rocksdb), (Storage::RabbitMq, rabbitmq)])
        };
        assert_eq!(built(false, false), "memory or disk");
        assert_eq!(built(false, true), "memory, disk or rabbitmq");
        assert_eq!(built(true, true), "memory, disk, rocksdb or rabbitmq");
    }

    #[cfg(feature = "rocksdb")]
    #[test]
    fn a_database_has_no_segments() {
        let stored = [
            ("STORAGE", "rocksdb"),
            ("DATA_DIR", "/data"),
            ("RETENTION_BYTES", "2MiB"),
        ];
        assert_eq!(settings(stored).warnings(), [""; 0]);
        let [storage, data, retention] = stored;
        let warnings = settings([storage, data, retention, ("SEGMENT_BYTES", "1MiB")]).warnings();
        assert_eq!(
            warnings,
            ["STORAGE=rocksdb has no segments, so SEGMENT_BYTES has no effect"]
        );
    }

    #[test]
    fn what_stores_nothing_needs_none() {
        let file = topics("[[rule]]\ntopics = \"a\"\nstorage = \"memory\"\nfsync = \"never\"\n");
        let settings = settings([("TOPICS_FILE", file.path().to_str().unwrap())]);
        assert!(!settings.stores_anything());
        assert_eq!(settings.data_dir(), None);
        assert_eq!(settings.warnings(), [""; 0]);
    }

    /// One that means nothing because of another one's bad value is not told.
    #[test]
    fn a_bad_storage_does_not_ask_for_a_folder() {
        assert!(error([("STORAGE", "tape")]).starts_with("STORAGE: \"tape\" is not allowed"));
    }

    #[test]
    fn the_recorder_writes_elsewhere() {
        let both = |storage| {
            Settings::from_variables([
                ("STORAGE", storage),
                ("DATA_DIR", "/data"),
                ("RECORD_DIR", "/data/"),
            ])
        };
        assert_eq!(
            both("disk").unwrap_err().to_string(),
            "DATA_DIR: \"/data\" is not allowed: use a folder other than RECORD_DIR: the recorder would put its \
             files among what is stored"
        );
        assert!(both("memory").is_ok());
    }

    #[test]
    fn what_means_nothing_without_storage_is_a_warning() {
        let warnings = settings([("DATA_DIR", "/data")]).warnings();
        assert_eq!(
            warnings,
            [
                "nothing is stored, so this has no effect: DATA_DIR; set STORAGE=disk, or storage = \"disk\" in a \
                 rule of TOPICS_FILE"
            ]
        );
        let warnings = settings([
            ("FSYNC", "1s"),
            ("SEGMENT_BYTES", "1MiB"),
            ("RETENTION_MS", "1day"),
            ("RETENTION_BYTES", "1GiB"),
            ("RETENTION_SETTLED", "on"),
        ])
        .warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let names = "FSYNC, SEGMENT_BYTES, RETENTION_MS, RETENTION_BYTES, RETENTION_SETTLED;";
        assert!(warnings[0].contains(names), "{warnings:?}");
    }

    #[test]
    fn a_bound_below_one_segment_is_a_warning() {
        let warnings = |retention| {
            let stored = [
                ("STORAGE", "disk"),
                ("DATA_DIR", "/data"),
                ("RETENTION_BYTES", retention),
            ];
            settings(stored).warnings()
        };
        assert_eq!(
            warnings("63MiB"),
            [
                "RETENTION_BYTES (63MiB) is less than SEGMENT_BYTES (64MiB): whole segments are deleted, and never \
                 the last one, so a topic keeps more than that"
            ]
        );
        for fits in ["0", "64MiB"] {
            assert_eq!(warnings(fits), [""; 0], "{fits}");
        }
    }
}
