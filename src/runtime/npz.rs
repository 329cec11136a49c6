//! Named arrays in NumPy's `.npz` archives: the data of `rnnc run` and its results.
//!
//! ```no_run
//! use rnnc::runtime::npz::{Values, read, write};
//! let arrays = read("in.npz".as_ref())?;
//! let x = arrays["x"].to_real();
//! write("out.npz".as_ref(), &[("y", &arrays["x"].shape, Values::F64(&x))])?;
//! # Ok::<(), rnnc::runtime::npz::NpzError>(())
//! ```
//!
//! Archives of `np.savez` and `np.savez_compressed` are read; what an array means (its axes, its
//! lengths) is not known here.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use npyz::npz::{NpzArchive, NpzWriter, array_name_from_file_name};
use npyz::zip::{DateTime, write::FileOptions};
use npyz::{DType, TypeStr, WriterBuilder};
use thiserror::Error;

use super::files::{self, FileError};
use super::npy::read_npy;

pub use super::npy::{Array, Data, NpyError};

/// Why an archive cannot be read or written; each names the file, and the array where it is one.
#[derive(Debug, Error)]
pub enum NpzError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No zip archive, or a damaged one.
    #[error("{} is not a .npz archive: {reason}", path.display())]
    NotNpz {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else than an array in the archive.
    #[error("{} holds `{name}`, which is not an array", path.display())]
    NotAnArray {
        /// The file.
        path: PathBuf,
        /// The entry.
        name: String,
    },
    /// Two arrays of one name.
    #[error("{} holds two arrays named `{name}`", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
    },
    /// An array that cannot be used.
    #[error("array `{name}` in {}: {source}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// What is wrong with it.
        source: NpyError,
    },
    /// Values that do not fill the shape they are to be written with.
    #[error("array `{name}` of shape {shape:?} cannot be written with {found} values")]
    Shape {
        /// The array.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Number of values.
        found: usize,
    },
}

/// All arrays of an archive, by name (without `.npy`).
///
/// # Errors
/// The file cannot be read, is no archive, or holds anything but arrays of numbers.
pub fn read(path: &Path) -> Result<BTreeMap<String, Array>, NpzError> {
    parse(path, files::read(path)?)
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<BTreeMap<String, Array>, NpzError> {
    let damaged = |reason: String| NpzError::NotNpz { path: path.to_path_buf(), reason };
    let mut archive = NpzArchive::new(Cursor::new(bytes)).map_err(|error| damaged(error.to_string()))?;
    let zip = archive.zip_archive();
    let mut arrays = BTreeMap::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|error| damaged(error.to_string()))?;
        let file_name = entry.name().to_string();
        let Some(name) = array_name_from_file_name(&file_name).map(str::to_string) else {
            return Err(NpzError::NotAnArray { path: path.to_path_buf(), name: file_name });
        };
        let array = read_npy(&mut io::BufReader::new(entry.by_ref())).map_err(|source| NpzError::Array {
            path: path.to_path_buf(),
            name: name.clone(),
            source,
        })?;
        if arrays.insert(name.clone(), array).is_some() {
            return Err(NpzError::Twice { path: path.to_path_buf(), name });
        }
    }
    Ok(arrays)
}

/// Values to write, with the type that they get in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values<'a> {
    /// `float32`
    F32(&'a [f32]),
    /// `float64`
    F64(&'a [f64]),
    /// `int64`
    I64(&'a [i64]),
    /// `uint32`
    U32(&'a [u32]),
}

impl Values<'_> {
    fn len(self) -> usize {
        match self {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::I64(values) => values.len(),
            Values::U32(values) => values.len(),
        }
    }

    fn type_text(self) -> &'static str {
        match self {
            Values::F32(_) => "<f4",
            Values::F64(_) => "<f8",
            Values::I64(_) => "<i8",
            Values::U32(_) => "<u4",
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Values::F32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::F64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::I64(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Values::U32(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// Writes an archive of `(name, shape, values)`, row-major, wholly or not at all.
///
/// # Errors
/// Two arrays of one name, values that do not fill their shape, or a file that cannot be written.
pub fn write(path: &Path, arrays: &[(&str, &[usize], Values)]) -> Result<(), NpzError> {
    for (index, (name, shape, values)) in arrays.iter().enumerate() {
        let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if count != Some(values.len()) {
            let (name, shape) = (name.to_string(), shape.to_vec());
            return Err(NpzError::Shape { name, shape, found: values.len() });
        }
        if arrays[..index].iter().any(|(other, _, _)| other == name) {
            return Err(NpzError::Twice { path: path.to_path_buf(), name: name.to_string() });
        }
    }
    // In memory first: a zip writer whose disk is full reports that on its own when it is dropped.
    let wrap = |source| NpzError::File(FileError::Write { path: path.to_path_buf(), source });
    let bytes = encode(arrays).map_err(wrap)?;
    Ok(files::replace(path, |file| file.write_all(&bytes))?)
}

fn encode(arrays: &[(&str, &[usize], Values)]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut archive = NpzWriter::new(Cursor::new(&mut bytes));
    for (name, shape, values) in arrays {
        let kind: TypeStr = values.type_text().parse().map_err(io::Error::other)?;
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        // No time of writing: equal results are equal files.
        let options = FileOptions::default().last_modified_time(DateTime::default());
        let entry = archive.array::<f32>(name, options)?;
        let out = entry.dtype(DType::new_scalar(kind)).shape(&shape).write_header_only()?;
        out.write_all(&values.bytes())?;
    }
    archive.zip_writer().finish().map_err(io::Error::from)?;
    drop(archive);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::npy::tests::npy;
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = NpzWriter::new(Cursor::new(&mut bytes));
        for (name, content) in entries {
            let zip = archive.zip_writer();
            zip.start_file(*name, Default::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        archive.zip_writer().finish().unwrap();
        drop(archive);
        bytes
    }

    fn error(bytes: Vec<u8>) -> String {
        parse(Path::new("in.npz"), bytes).unwrap_err().to_string()
    }

    #[test]
    fn every_type_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npz");
        let none: &[usize] = &[];
        write(
            &path,
            &[
                ("h", &[2, 2], Values::F32(&[1.0, -2.5, 0.0, f32::NEG_INFINITY])),
                ("enc/x.y", &[1], Values::F64(&[0.1])),
                ("t", none, Values::I64(&[i64::MIN])),
                ("words", &[3, 1], Values::U32(&[1, u32::MAX, 3])),
                ("empty", &[0, 5], Values::F32(&[])),
            ],
        )
        .unwrap();
        let arrays = read(&path).unwrap();
        assert_eq!(arrays.keys().collect::<Vec<_>>(), ["empty", "enc/x.y", "h", "t", "words"]);
        assert_eq!(
            arrays["h"],
            Array { shape: vec![2, 2], data: Data::Real(vec![1.0, -2.5, 0.0, f64::NEG_INFINITY]) }
        );
        assert_eq!(arrays["enc/x.y"].data, Data::Real(vec![0.1]));
        assert_eq!(arrays["t"], Array { shape: vec![], data: Data::Integer(vec![i64::MIN]) });
        assert_eq!(arrays["words"].integers(), Some(&[1, i64::from(u32::MAX), 3][..]));
        assert_eq!(arrays["empty"].shape, [0, 5]);
        write(&path, &[]).unwrap();
        assert!(read(&path).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn equal_arrays_are_equal_files() {
        let bytes = encode(&[("x", &[1], Values::F32(&[1.0]))]).unwrap();
        let mut archive = npyz::zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        assert_eq!(archive.by_index(0).unwrap().last_modified().datepart(), DateTime::default().datepart());
    }

    #[test]
    fn bad_arrays_are_named() {
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
        let bytes = archive(&[("x.npy", &npy(text, &[0; 8]))]);
        assert_eq!(error(bytes), "array `x` in in.npz: shape [3] needs 12 bytes of data, but there are 8");
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (3000000000000,), }";
        assert!(error(archive(&[("x.npy", &npy(huge, &[0; 8]))])).contains("but there are 8"));
        assert_eq!(error(archive(&[("x.npy", b"hello")])), "array `x` in in.npz: not a .npy array");
        assert_eq!(
            error(archive(&[("notes.txt", b"hello")])),
            "in.npz holds `notes.txt`, which is not an array"
        );
    }

    #[test]
    fn other_files() {
        assert!(error(Vec::new()).starts_with("in.npz is not a .npz archive: "));
        assert!(error(b"\x93NUMPY\x01\x00".to_vec()).starts_with("in.npz is not a .npz archive: "));
        let missing = read(Path::new("no such file.npz")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read no such file.npz: "), "{missing}");
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let values: Vec<f32> = (0..50).map(|i| i as f32).collect();
        let shape: &[usize] = &[5, 10];
        let good = encode(&[("x", shape, Values::F32(&values)), ("y", shape, Values::F32(&values))]).unwrap();
        let right = parse(Path::new("in.npz"), good.clone()).unwrap();
        for length in 0..good.len() {
            assert!(parse(Path::new("in.npz"), good[..length].to_vec()).is_err());
        }
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                // Names, times and flags are not covered by a checksum; the numbers are.
                if let Ok(arrays) = parse(Path::new("in.npz"), bad) {
                    let data =
                        |arrays: &BTreeMap<String, Array>| arrays.values().cloned().collect::<Vec<_>>();
                    assert!(data(&arrays).iter().all(|array| data(&right).contains(array)), "{at}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npz");
        let one: &[usize] = &[1];
        let text = write(&path, &[("x", &[2], Values::F32(&[1.0]))]).unwrap_err().to_string();
        assert_eq!(text, "array `x` of shape [2] cannot be written with 1 values");
        let twice = [("x", one, Values::F32(&[1.0])), ("x", one, Values::F32(&[1.0]))];
        assert!(matches!(write(&path, &twice), Err(NpzError::Twice { .. })));
        let nowhere = write(&folder.path().join("none/out.npz"), &twice[..1]).unwrap_err().to_string();
        assert!(nowhere.starts_with("cannot write "), "{nowhere}");
        assert!(!path.exists());
    }
}
