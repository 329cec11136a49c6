//! `predict`, `generate`: commands that have a trained model say something.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::failure::Failure;
use super::hardware::Hardware;
use super::output::print;
use super::sources;
use crate::driver::answer::{self, answer, exactness};
use crate::driver::corpus::Source;
use crate::driver::generate::{self, generate};
use crate::driver::machine::Machine;
use crate::driver::predict::{Beam, Chance, Choice, Format, Search};
use crate::runtime::files;

/// How much length is made up for unless something else is asked for: each id counts alike.
const LENGTH_PENALTY: f64 = 1.0;
/// What is written unless something else is asked for.
const LENGTH: usize = 500;

/// How values are chosen.
#[derive(Debug, Args)]
struct SearchFlags {
    /// Keep this many of the likeliest sequences at every step; 1 is the greedy choice
    #[arg(long, value_name = "WIDTH")]
    beam: Option<usize>,
    /// Compare sequences of a beam by log probability / ((5 + length) / 6)^X [default: 1]
    #[arg(long, value_name = "X", requires = "beam", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// The most positions of a sequence
    #[arg(long, value_name = "N", value_parser = super::count)]
    length: Option<usize>,
    /// The token (or id) that ends a sequence, where the run does not know one
    #[arg(long, value_name = "TOKEN")]
    end: Option<String>,
    /// So many for each example: the best of a beam, else draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// 1: as the model says; lower: surer; 0: always the likeliest, as --greedy
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw among this many of the likeliest
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw among the fewest of the likeliest that have this probability together
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Always take the likeliest
    #[arg(long, conflicts_with_all = ["beam", "temperature", "top_k", "top_p"])]
    greedy: bool,
    /// Seed of the draws
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

impl SearchFlags {
    /// The search; `draws` says whether it draws if nothing else is said.
    fn search(&self, draws: bool) -> Result<Search, Failure> {
        let chance = self.temperature.is_some() || self.top_k.is_some() || self.top_p.is_some();
        let temperature = self.temperature.unwrap_or(1.0);
        // A temperature of 0 is what lower and lower ones come to.
        let draws = !self.greedy && temperature != 0.0 && (chance || draws && self.beam.is_none());
        let choice = match draws {
            false => Choice::Likeliest,
            true => Choice::Chance(Chance { temperature, top_k: self.top_k, top_p: self.top_p }),
        };
        let length_penalty = self.length_penalty.unwrap_or(LENGTH_PENALTY);
        let beam = self.beam.map(|width| Beam { width, length_penalty });
        let search = Search { choice, beam, count: self.count, length: self.length, seed: self.seed };
        search.check().map_err(|error| Failure::Usage(error.to_string()))?;
        if temperature == 0.0 && (self.top_k.is_some() || self.top_p.is_some()) {
            let text = "a temperature of 0 always takes the likeliest: leave out `--top-k` and `--top-p`";
            return Err(Failure::Usage(text.to_string()));
        }
        Ok(search)
    }
}

/// Whether what a model draws is compared with what was observed.
#[derive(Debug, Args)]
pub(super) struct DecodeFlags {
    /// Draw the likeliest, too, and count how often it is what was observed
    #[arg(long)]
    decode: bool,
    /// Keep this many of the likeliest sequences at every step; 1 is the greedy choice
    #[arg(long, value_name = "WIDTH", requires = "decode")]
    beam: Option<usize>,
    /// Compare sequences of a beam by log probability / ((5 + length) / 6)^X [default: 1]
    #[arg(long, value_name = "X", requires = "beam", allow_negative_numbers = true)]
    length_penalty: Option<f64>,
    /// The token (or id) that ends a sequence, where the run does not know one
    #[arg(long, value_name = "TOKEN", requires = "decode")]
    end: Option<String>,
}

impl DecodeFlags {
    /// What is found by drawing, a row each: nothing if it is not asked for.
    pub fn rows(
        self,
        run: &Path,
        source: Option<&Source>,
        threads: usize,
        machine: &Machine,
    ) -> Result<Vec<(String, f64)>, Failure> {
        if !self.decode {
            return Ok(Vec::new());
        }
        let Some(source) = source else {
            let text = "--decode compares with the answers in a file: name it, as in `--data test.csv`";
            return Err(Failure::Usage(text.to_string()));
        };
        let length_penalty = self.length_penalty.unwrap_or(LENGTH_PENALTY);
        let beam = self.beam.map(|width| Beam { width, length_penalty });
        let search = Search { beam, ..Search::default() };
        let found = exactness(run, source, &search, self.end.as_deref(), threads, machine)?;
        let rows = found.into_iter().flat_map(|own| {
            [
                (format!("decoded {} exact", own.name), own.exact),
                (format!("decoded {} edits", own.name), own.edits),
            ]
        });
        Ok(rows.collect())
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// Comma-separated values below a header
    Csv,
    /// JSON objects, one a line
    Jsonl,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc predict run.safetensors --input new.csv\n  rnnc predict run.safetensors --input new.csv --format jsonl --probabilities --output answers.jsonl\n  rnnc predict translate.safetensors --lines source=new.de --beam 5 --show att.weight\n  rnnc predict forecast.safetensors --input history.csv --ahead 12\n\n\
                  A class comes with its probability, a sequence that is drawn up to its end with the logarithm of its own.\n\
                  Without --length a sequence has at most 100 positions and three for each of the longest that it is drawn for."
)]
pub(super) struct Predict {
    /// A run of `rnnc train`
    run: PathBuf,
    #[command(flatten)]
    input: InputFlags,
    /// How predictions are written
    #[arg(long, value_enum, default_value = "csv")]
    format: FormatName,
    /// Where predictions go [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With the probabilities of all classes
    #[arg(long)]
    probabilities: bool,
    /// Go on with what is given of a series, by so many positions
    #[arg(long, value_name = "N", value_parser = super::count, conflicts_with = "length")]
    ahead: Option<usize>,
    /// Show a value over two axes, such as the weights of attention, below each prediction
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    #[command(flatten)]
    search: SearchFlags,
    #[command(flatten)]
    hardware: Hardware,
}

impl Predict {
    pub fn run(self) -> Result<(), Failure> {
        let Some(input) = self.input.source()? else {
            let text = "there are no examples: give --input, or --lines for each input";
            return Err(Failure::Usage(text.to_string()));
        };
        let request = answer::Request {
            search: self.search.search(false)?,
            end: self.search.end,
            ahead: self.ahead,
            format: match self.format {
                FormatName::Csv => Format::Csv,
                FormatName::Jsonl => Format::JsonLines,
            },
            probabilities: self.probabilities,
            show: self.show,
            threads: self.hardware.threads(),
            input,
        };
        if let Some(path) = &self.output {
            files::check_replaceable(path).map_err(Failure::of)?;
        }
        let machine = self.hardware.open()?;
        let mut result = Ok(());
        let Some(path) = self.output else {
            let result = std::cell::RefCell::new(result);
            let out = |text: &str| {
                let mut result = result.borrow_mut();
                *result = print(text);
                result.is_ok()
            };
            answer(&self.run, &request, &machine, out, out)?;
            return result.into_inner();
        };
        let mut lines = String::new();
        let show = |text: &str| {
            result = print(text);
            result.is_ok()
        };
        let keep = |text: &str| {
            lines += text;
            true
        };
        answer(&self.run, &request, &machine, keep, show)?;
        result?;
        files::replace(&path, |out| out.write_all(lines.as_bytes())).map_err(Failure::of)?;
        print(&format!("wrote {}\n", path.display()))
    }
}

/// What a model is given.
#[derive(Debug, Args)]
struct InputFlags {
    /// The examples: a table (.csv, .tsv, .jsonl), arrays (.npz), or trees, by the end of its name
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    input: Option<PathBuf>,
    /// A file with a line for each example (may be repeated, one for each input)
    #[arg(long, value_name = "INPUT=FILE", value_parser = sources::file)]
    lines: Vec<(String, PathBuf)>,
}

impl InputFlags {
    fn source(self) -> Result<Option<Source>, Failure> {
        match self.input {
            Some(path) => Ok(Some(Source::of_path(path, Source::Trees))),
            None => sources::lines("--lines", self.lines),
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  rnnc generate run.safetensors --length 500 --temperature 0.8 --top-p 0.95\n  rnnc generate run.safetensors --prompt 'ROMEO:' --seed 7 --count 3 --end '\n'\n  rnnc generate translate.safetensors --input new.tsv --beam 5"
)]
pub(super) struct Generate {
    /// A run of `rnnc train`
    run: PathBuf,
    #[command(flatten)]
    input: InputFlags,
    /// What each text begins with
    #[arg(long, value_name = "TEXT", default_value = "")]
    prompt: String,
    #[command(flatten)]
    search: SearchFlags,
    #[command(flatten)]
    hardware: Hardware,
}

impl Generate {
    pub fn run(self) -> Result<(), Failure> {
        let mut search = self.search.search(true)?;
        search.length = search.length.or(Some(LENGTH));
        let request = generate::Request {
            search,
            prompt: self.prompt,
            end: self.search.end,
            input: self.input.source()?,
            threads: self.hardware.threads(),
        };
        let mut result = Ok(());
        generate(&self.run, &request, &self.hardware.open()?, |piece| {
            result = print(piece);
            result.is_ok()
        })?;
        result
    }
}
