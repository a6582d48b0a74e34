//! What an export reads: a log, file by file, or another engine.

use super::asked::Asked;
use super::data::{Data, Topic, engine_of};
use super::{LogError, TopicArgs, aside, walk};
use crate::settings::FolderEngine;
use message_queue_core::log::{ReadFrom, SeenContent, Stored};
use std::ops::ControlFlow;

/// A stored topic to be read.
pub(super) enum Source {
    /// A log, in a folder that nobody else has meanwhile.
    Log { _data: Data, topic: Box<Topic> },
    /// In another engine.
    Asked(Box<Asked>),
}

impl Source {
    /// Takes the folder.
    pub(super) fn open(args: &TopicArgs) -> Result<Self, LogError> {
        let (folder, name) = (&args.data.data, &args.topic);
        match engine_of(folder) {
            FolderEngine::Disk => {
                let data = Data::take(folder)?;
                let topic = data.stored(name)?;
                aside::refuse_pending(&topic)?;
                Ok(Self::Log {
                    _data: data,
                    topic: Box::new(topic),
                })
            }
            engine @ FolderEngine::RocksDb => {
                let asked = Asked::open_topic(folder, engine.storage(), name.clone())?;
                Ok(Self::Asked(Box::new(asked)))
            }
        }
    }

    /// Reads what is stored from some place on, in order. `each` is told of it, and may end it.
    ///
    /// # Errors
    /// What `each` says, or what is in the way. What comes before that was told.
    pub(super) fn read(
        &mut self,
        from: ReadFrom,
        mut each: impl FnMut(Stored) -> Result<ControlFlow<()>, LogError>,
    ) -> Result<(), LogError> {
        match self {
            Self::Log { topic, .. } => read_log(topic, from, each),
            Self::Asked(asked) => asked.read(from, &mut each),
        }
    }
}

fn read_log(
    topic: &Topic,
    from: ReadFrom,
    mut each: impl FnMut(Stored) -> Result<ControlFlow<()>, LogError>,
) -> Result<(), LogError> {
    let mut expected = None;
    let looked = walk::look(topic, from, |seen| {
        let SeenContent::Stored(stored) = seen.content else {
            return Ok(ControlFlow::Continue(()));
        };
        let all = stored.sequences();
        if expected.is_some_and(|it| it != all.from) {
            // What is damaged is between them: it is named below.
            return Ok(ControlFlow::Break(()));
        }
        expected = Some(all.to + 1);
        each(stored)
    })?;
    match looked.inspection.damage().first() {
        Some(damage) => Err(LogError::Damaged {
            topic: topic.name().to_owned(),
            damage: damage.clone(),
        }),
        None => Ok(()),
    }
}
