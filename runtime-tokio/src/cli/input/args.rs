//! The flags that say how the input is to be read, and what follows from them.

use super::error::InputError;
use encoding_rs::Encoding;
use std::path::Path;

/// How messages stand in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InputFormat {
    /// One message a line, without its line end (a line feed, or carriage return and line feed)
    Lines,
    /// One message a row: a JSON object whose keys are the header's
    Csv,
    /// One message a frame: a length (4 bytes, big-endian) and so many bytes
    Frames,
    /// What `log export` and `consume --format export` write; every checksum is verified
    Export,
}

impl InputFormat {
    /// What `--format` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Csv => "csv",
            Self::Frames => "frames",
            Self::Export => "export",
        }
    }
}

/// What to do about a row or line that cannot be a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnBadRow {
    /// End with an error that names its line
    #[default]
    Stop,
    /// Leave it out, show the first few, and count them all
    Skip,
}

/// How the input is read. Each flag stands for itself; [`Options::of`] puts them together.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct InputArgs {
    /// How messages stand in it [default: csv for *.csv and *.tsv, else lines]
    #[arg(long, value_enum)]
    format: Option<InputFormat>,

    /// The encoding of its text, such as utf-16le, windows-1252 or shift_jis; messages are UTF-8.
    /// A byte-order mark has precedence and is never part of a message [default: utf-8]
    #[arg(long, value_name = "NAME", value_parser = parse_encoding)]
    encoding: Option<&'static Encoding>,

    /// Leave out the first N lines; in CSV the header comes after them
    #[arg(long, value_name = "N")]
    skip_lines: Option<u64>,

    /// What to do about a row with another number of fields than the header, a row or line that
    /// makes a message of more than 1 MiB, and text that is not in the encoding [default: stop]
    #[arg(long, value_enum, value_name = "WHAT")]
    on_bad_row: Option<OnBadRow>,

    /// CSV: the character between fields, or `tab` [default: a comma; a tab for *.tsv]
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    delimiter: Option<u8>,

    /// CSV: the first row is data; each row becomes a JSON array of strings
    #[arg(long, conflicts_with = "unique_columns")]
    no_header: bool,

    /// CSV: rename columns whose names are empty or repeated (a, a, "" become a, a_2, column_3);
    /// else a repeated name is an error
    #[arg(long)]
    unique_columns: bool,
}

/// Where the keys of a row come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The first row, whose names must differ.
    AsItIs,
    /// The first row, whose names are made to differ.
    MadeUnique,
    /// Nowhere: rows are arrays.
    None,
}

/// How one input is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) format: InputFormat,
    /// None where it was not named: then it is UTF-8, unless the input looks like something else.
    pub(super) encoding: Option<&'static Encoding>,
    pub(super) skip_lines: u64,
    pub(super) on_bad_row: OnBadRow,
    /// None where it was not named: then it is a comma, unless the header looks otherwise.
    pub(super) delimiter: Option<u8>,
    pub(super) header: Header,
}

impl Options {
    /// What `args` say about the input at `path`, whose ending decides where they say nothing.
    pub(super) fn of(args: &InputArgs, path: &Path) -> Result<Self, InputError> {
        let ending = |wanted| {
            let ending = path.extension();
            ending.is_some_and(|ending| ending.eq_ignore_ascii_case(wanted))
        };
        let format = match args.format {
            Some(format) => format,
            None if ending("csv") || ending("tsv") => InputFormat::Csv,
            None => InputFormat::Lines,
        };
        if let Some(flag) = args.flag_that_is_not_for(format) {
            let format = format.name();
            return Err(InputError::NotForFormat { flag, format });
        }
        Ok(Self {
            format,
            encoding: args.encoding,
            skip_lines: args.skip_lines.unwrap_or(0),
            on_bad_row: args.on_bad_row.unwrap_or_default(),
            delimiter: args.delimiter.or(ending("tsv").then_some(b'\t')),
            header: match (args.no_header, args.unique_columns) {
                (true, _) => Header::None,
                (false, true) => Header::MadeUnique,
                (false, false) => Header::AsItIs,
            },
        })
    }
}

impl InputArgs {
    fn flag_that_is_not_for(&self, format: InputFormat) -> Option<&'static str> {
        let text = [
            ("--encoding", self.encoding.is_some()),
            ("--skip-lines", self.skip_lines.is_some()),
            ("--on-bad-row", self.on_bad_row.is_some()),
        ];
        let csv = [
            ("--delimiter", self.delimiter.is_some()),
            ("--no-header", self.no_header),
            ("--unique-columns", self.unique_columns),
        ];
        let not_for: &[&[(&'static str, bool)]] = match format {
            InputFormat::Csv => &[],
            InputFormat::Lines => &[&csv],
            InputFormat::Frames | InputFormat::Export => &[&text, &csv],
        };
        let mut flags = not_for.iter().copied().flatten();
        flags.find(|(_, given)| *given).map(|(flag, _)| *flag)
    }
}

fn parse_encoding(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label_no_replacement(name.as_bytes()).ok_or_else(|| {
        "not an encoding of the WHATWG Encoding Standard; some of them: utf-8, utf-16le, utf-16be, \
         windows-1252 (Latin-1), iso-8859-2, windows-1251, shift_jis, gb18030, euc-kr, big5"
            .to_owned()
    })
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        b"\"" | b"\r" | b"\n" => Err("a quote or a line end has another meaning in CSV".to_owned()),
        &[byte] if byte.is_ascii() && byte != 0 => Ok(byte),
        _ => Err("allowed: one ASCII character, such as ';' or '|', or tab".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: InputArgs,
    }

    fn parse(flags: &[&str]) -> Result<InputArgs, clap::Error> {
        Command::try_parse_from([&["produce"], flags].concat()).map(|command| command.args)
    }

    fn options(flags: &[&str], path: &str) -> Result<Options, InputError> {
        Options::of(&parse(flags).expect("flags"), Path::new(path))
    }

    #[test]
    fn the_ending_tells_format_and_delimiter_unless_flags_do() {
        for (path, flags, format, delimiter) in [
            ("a.CSV", &[][..], InputFormat::Csv, None),
            ("a.tsv", &[], InputFormat::Csv, Some(b'\t')),
            ("a.tsv", &["--delimiter", ";"], InputFormat::Csv, Some(b';')),
            ("a.txt", &[], InputFormat::Lines, None),
            ("a.csv", &["--format", "lines"], InputFormat::Lines, None),
        ] {
            let options = options(flags, path).expect("allowed");
            assert_eq!((options.format, options.delimiter), (format, delimiter));
        }
    }

    #[test]
    fn a_delimiter_is_one_ascii_character_or_a_tab() {
        assert_eq!(parse_delimiter("tab"), Ok(b'\t'));
        assert_eq!(parse_delimiter("\t"), Ok(b'\t'));
        assert_eq!(parse_delimiter("|"), Ok(b'|'));
        for bad in ["", "\"", "\n", ";;", "é", "\0"] {
            assert!(parse_delimiter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_encoding_has_one_of_the_names_of_the_standard() {
        let windows = parse_encoding("Latin1").expect("a label");
        assert_eq!(windows, encoding_rs::WINDOWS_1252);
        assert!(parse(&["--encoding", "utf-9"]).is_err());
        // It decodes everything to one error.
        assert!(parse(&["--encoding", "replacement"]).is_err());
    }

    #[test]
    fn a_flag_that_does_nothing_for_the_format_is_refused() {
        for (flags, path) in [
            (&["--delimiter", ";"][..], "-"),
            (&["--no-header"], "a.txt"),
            (&["--unique-columns", "--format", "frames"], "a.csv"),
            (&["--skip-lines", "0", "--format", "frames"], "a.csv"),
            (&["--on-bad-row", "stop", "--format", "frames"], "a.csv"),
            (&["--encoding", "utf-8", "--format", "frames"], "a.csv"),
        ] {
            let error = options(flags, path).expect_err("refused").to_string();
            assert!(error.starts_with(flags[0]), "{error}");
        }
    }
}
