//! An input taken apart into messages.

use super::args::{InputFormat, Options};
use super::csv;
use super::error::InputError;
use super::export::Export;
use super::feed::Feed;
use super::frames::Frames;
use super::lines;
use super::text::Text;
use std::io::{self, Read, Seek};

/// Reads a source in its format.
pub(super) enum Reader<R> {
    Lines(Text<R>),
    Csv(Text<R>),
    Frames(Frames<R>),
    Export(Export<R>),
}

impl<R: Read> Reader<R> {
    pub(super) fn new(source: R, options: &Options) -> Self {
        match options.format {
            InputFormat::Lines => Self::Lines(Text::new(source, options.encoding)),
            InputFormat::Csv => Self::Csv(Text::new(source, options.encoding)),
            InputFormat::Frames => Self::Frames(Frames::new(source)),
            InputFormat::Export => Self::Export(Export::new(source)),
        }
    }

    /// Reads to the end of the source. What came before an error is sent before it.
    pub(super) fn read(
        &mut self,
        feed: &mut Feed<'_>,
        options: &Options,
    ) -> Result<(), InputError> {
        let outcome = match self {
            Self::Lines(text) => {
                begin(text, feed).and_then(|()| lines::read(text, feed, options.skip_lines))
            }
            Self::Csv(text) => begin(text, feed).and_then(|()| csv::read(text, feed, options)),
            Self::Frames(frames) => frames.read(feed),
            Self::Export(export) => export.read(feed),
        };
        feed.flush()?;
        outcome
    }
}

fn begin<R: Read>(text: &mut Text<R>, feed: &mut Feed<'_>) -> Result<(), InputError> {
    text.begin(feed.name())?;
    feed.reached(text.position());
    Ok(())
}

impl<R: Read + Seek> Reader<R> {
    /// Reads from the beginning to the end so many times; 0 is for ever.
    pub(super) fn read_rounds(
        &mut self,
        feed: &mut Feed<'_>,
        options: &Options,
        rounds: u64,
    ) -> Result<(), InputError> {
        let mut round = 0;
        // An input without a message in it would be read for ever and give nothing.
        while (rounds == 0 || round < rounds) && feed.messages() >= round {
            self.rewind().map_err(|source| feed.failed(source))?;
            self.read(feed, options)?;
            round += 1;
        }
        Ok(())
    }

    fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::Lines(text) | Self::Csv(text) => text.rewind(),
            Self::Frames(frames) => frames.rewind(),
            Self::Export(export) => export.rewind(),
        }
    }
}

#[cfg(test)]
mod tests;
