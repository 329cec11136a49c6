//! Values of a matrix from a file of others: word vectors as text, `.npz` or safetensors.
//!
//! ```text
//! the 0.418 0.24968 -0.41242        a word and its numbers, as GloVe and word2vec write them
//! film 0.2 -0.1 0.05                (a first line `400000 3` is a header)
//! ```
//!
//! Of a text the rows of known words are taken, `<unk>` for the unknown one; all others stay as they were. An
//! archive holds the whole matrix, under the parameter's name or as the only array.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::files::FileError;
use super::npz::{self, NpzError};
use super::weights::{self, WeightsError};

/// The unknown word in files of vectors.
const UNKNOWN: &str = "<unk>";

/// Why a file has no values for a parameter.
#[derive(Debug, Error)]
pub enum VectorsError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// No archive, or a damaged one.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// No safetensors file, or a damaged one.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A line that is no vector.
    #[error("{}:{line}: {problem}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Something else.
    #[error("{}: {problem}", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Puts what `path` has into the values of the parameter `name` of shape `[rows, width]`; how many rows that were.
/// `id` gives the row of a word, and that of the unknown word for the empty one.
///
/// # Errors
/// The file cannot be read, has another width or shape, a number that is none, or not a single known word.
pub fn load(
    path: &Path,
    name: &str,
    shape: [usize; 2],
    id: impl Fn(&str) -> Option<u32>,
    values: &mut [f32],
) -> Result<usize, VectorsError> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    match extension.to_ascii_lowercase().as_str() {
        "npz" => {
            let arrays = npz::read(path)?;
            let only = (arrays.len() == 1).then(|| arrays.values().next()).flatten();
            let Some(array) = arrays.get(name).or(only) else {
                return Err(absent(path, name, arrays.keys().map(String::as_str)));
            };
            take(path, name, shape, &array.shape, array.to_real().iter().map(|&value| value as f32), values)
        }
        "safetensors" => {
            let bytes = super::files::read(path)?;
            let tensors = weights::parse(path, &bytes)?;
            let names = tensors.names();
            let own = match &names[..] {
                [only] => only,
                _ if names.contains(&name) => name,
                _ => return Err(absent(path, name, names.into_iter())),
            };
            let tensor = tensors.tensor(own).map_err(|error| {
                let problem = error.to_string();
                VectorsError::Whole { path: path.to_path_buf(), problem }
            })?;
            let found = weights::finite(path, own, &tensor)?;
            take(path, name, shape, tensor.shape(), found.into_iter(), values)
        }
        _ => text(path, shape, id, values),
    }
}

fn absent<'n>(path: &Path, name: &str, names: impl Iterator<Item = &'n str>) -> VectorsError {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let problem = format!("it has no array `{name}`; it has: {}", names.join(", "));
    VectorsError::Whole { path: path.to_path_buf(), problem }
}

/// A whole matrix.
fn take(
    path: &Path,
    name: &str,
    shape: [usize; 2],
    found: &[usize],
    from: impl Iterator<Item = f32>,
    values: &mut [f32],
) -> Result<usize, VectorsError> {
    let whole = |problem: String| VectorsError::Whole { path: path.to_path_buf(), problem };
    if found != shape {
        return Err(whole(format!("an array of shape {found:?}, but `{name}` has shape {shape:?}")));
    }
    for (at, (value, from)) in values.iter_mut().zip(from).enumerate() {
        if !from.is_finite() {
            return Err(whole(format!("{from} in row {}", at / shape[1].max(1))));
        }
        *value = from;
    }
    Ok(shape[0])
}

/// Words with their numbers, one a line.
fn text(
    path: &Path,
    [rows, width]: [usize; 2],
    id: impl Fn(&str) -> Option<u32>,
    values: &mut [f32],
) -> Result<usize, VectorsError> {
    let unread = |source| FileError::Read { path: path.to_path_buf(), source };
    // Such files are large, and most of a file is not wanted.
    let mut reader = BufReader::new(File::open(path).map_err(unread)?);
    let mut bytes = Vec::new();
    let (mut line, mut taken) = (0, vec![false; rows]);
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(unread)? == 0 {
            break;
        }
        line += 1;
        let at = |problem: String| VectorsError::At { path: path.to_path_buf(), line, problem };
        let text = std::str::from_utf8(&bytes).map_err(|_| at("not UTF-8".to_string()))?;
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.is_empty() {
            continue;
        }
        // A number each for words looks like a header, too: then it is none.
        let header =
            width != 1 && fields.len() == 2 && fields.iter().all(|field| field.parse::<u64>().is_ok());
        if line == 1 && header {
            if fields[1] != width.to_string() {
                return Err(at(format!(
                    "vectors of {} numbers, but the parameter is {width} wide",
                    fields[1]
                )));
            }
            continue;
        }
        // A word may hold blanks itself, but is no row of numbers.
        let words = fields.len().saturating_sub(width);
        let is_number = |field: &&str| field.parse::<f32>().is_ok();
        if words == 0 || (words > 1 && fields[1..words].iter().all(is_number)) {
            let count = fields.len() - 1;
            return Err(at(format!("a vector of {count} numbers, but the parameter is {width} wide")));
        }
        let word = fields[..words].join(" ");
        let Some(row) = id(if word == UNKNOWN { "" } else { &word }).map(|id| id as usize) else { continue };
        if row >= rows {
            continue;
        }
        for (value, field) in values[row * width..(row + 1) * width].iter_mut().zip(&fields[words..]) {
            let number = field.parse::<f32>().ok().filter(|number| number.is_finite());
            *value = number.ok_or_else(|| at(format!("`{field}` is not a number")))?;
        }
        taken[row] = true;
    }
    match taken.into_iter().filter(|taken| *taken).count() {
        0 => {
            let what = if line == 0 { "it is empty" } else { "it has not a single word of the vocabulary" };
            Err(VectorsError::Whole { path: path.to_path_buf(), problem: what.to_string() })
        }
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::Words;
    use super::*;

    fn loaded(text: &[u8], width: usize) -> Result<(usize, Vec<f32>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.txt");
        std::fs::write(&path, text).unwrap();
        let words = Words::of(["a", "new york", "7"], 1);
        let id = |word: &str| Some(words.id(word)).filter(|&id| id != 0 || word.is_empty());
        let mut values = vec![9.0; 4 * width];
        let count = load(&path, "embed", [4, width], id, &mut values);
        let count = count.map_err(|error| error.to_string().split("v.txt").nth(1).unwrap().to_string())?;
        Ok((count, values))
    }

    #[test]
    fn rows_of_known_words() {
        let text = b"a 1 2\nthe 3 4\nnew york 5 6\n<unk> 7 8\n\n";
        // In the order of the alphabet `7` is the first word.
        assert_eq!(loaded(text, 2), Ok((3, vec![7.0, 8.0, 9.0, 9.0, 1.0, 2.0, 5.0, 6.0])));
        assert_eq!(loaded(b"2 2\n7 1 2\na 3 4\n", 2), Ok((2, vec![9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 9.0, 9.0])));
        assert_eq!(loaded(b"7 1\na 2\n", 1), Ok((2, vec![9.0, 1.0, 2.0, 9.0])));
    }

    #[test]
    fn what_is_no_file_of_vectors() {
        let error = |text: &[u8]| loaded(text, 2).unwrap_err();
        assert_eq!(error(b"a 1 2\nb 1 2 3\n"), ":2: a vector of 3 numbers, but the parameter is 2 wide");
        assert_eq!(error(b"a 1\n"), ":1: a vector of 1 numbers, but the parameter is 2 wide");
        assert_eq!(error(b"100 50\na 1 2\n"), ":1: vectors of 50 numbers, but the parameter is 2 wide");
        assert_eq!(error(b"a 1 x\n"), ":1: `x` is not a number");
        assert_eq!(error(b"a 1 inf\n"), ":1: `inf` is not a number");
        assert_eq!(error(b"a 1 2\n\xff 1 2\n"), ":2: not UTF-8");
        assert_eq!(error(b""), ": it is empty");
        assert_eq!(error(b"b 1 2\n"), ": it has not a single word of the vocabulary");
    }

    #[test]
    fn whole_matrices() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npz");
        let rows = [1.0, 2.0, 3.0, 4.0];
        npz::write(&path, &[("x", &[2, 2], npz::Values::F32(&rows))]).unwrap();
        let mut values = [0.0; 4];
        assert_eq!(load(&path, "embed", [2, 2], |_| None, &mut values).unwrap(), 2);
        assert_eq!(values, rows);
        let error = load(&path, "embed", [4, 1], |_| None, &mut values).unwrap_err().to_string();
        assert!(error.ends_with("an array of shape [2, 2], but `embed` has shape [4, 1]"), "{error}");
        npz::write(&path, &[("x", &[2], npz::Values::F32(&rows[..2])), ("y", &[0], npz::Values::F32(&[]))])
            .unwrap();
        let error = load(&path, "embed", [4, 1], |_| None, &mut values).unwrap_err().to_string();
        assert!(error.ends_with("it has no array `embed`; it has: `x`, `y`"), "{error}");
    }
}
