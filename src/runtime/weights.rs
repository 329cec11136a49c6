//! Weights in safetensors files, whoever made them.
//!
//! ```no_run
//! # use rnnc::runtime::{initializer::Initializer, parameters::ParameterSpec};
//! let specs = vec![ParameterSpec::new("W", &[4, 4], Initializer::Glorot)];
//! let parameters = rnnc::runtime::weights::load_weights("w.safetensors".as_ref(), specs)?;
//! # Ok::<(), rnnc::runtime::weights::WeightsError>(())
//! ```
//!
//! A file is checked against the compiled model's parameters: every name, every shape, every value
//! finite. The files of a training run hold more than weights (see `checkpoint`); tensors whose names
//! begin with [`RESERVED`] are that, and are passed over here.

use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use thiserror::Error;

use super::files::{self, FileError};
use super::parameters::{ParameterSpec, Parameters, ParametersError};

/// Begins the names of tensors that are no parameters: no name in the language has this character.
pub const RESERVED: char = '@';

/// Why a file's tensors cannot be used; each names the file.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The header of a safetensors file, but fewer bytes than it speaks of.
    #[error("{} is truncated: it ends before its last tensor does", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// Something else.
    #[error("{} is not a safetensors file: {reason}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Parameters of the model that the file lacks.
    #[error("{} is of another model: it has no {}", path.display(), list(names))]
    Missing {
        /// The file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// Tensors that are no parameters of the model.
    #[error("{} is of another model: this one has no parameter {}", path.display(), list(names))]
    Extra {
        /// The file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// A parameter of another shape.
    #[error("{} is of another model: `{name}` is {found:?} there and {expected:?} here", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The parameter.
        name: String,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// Its shape in the file.
        found: Vec<usize>,
    },
    /// A tensor of a type that is not read.
    #[error("`{name}` in {} is {found}; only F32 and F64 are read", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: Dtype,
    },
    /// A NaN, an infinity, or an f64 beyond the range of f32.
    #[error("`{name}` in {} is not finite: element {element} is {value}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Index into the flattened tensor.
        element: usize,
        /// What is there.
        value: f64,
    },
    /// The specs themselves are wrong (two of one name).
    #[error(transparent)]
    Parameters(#[from] ParametersError),
}

/// Names for a message; a few are enough to see what is the matter.
pub(super) fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        text.push(format!("and {} more", names.len() - SHOWN));
    }
    text.join(", ")
}

/// Reads the parameters `specs` from a safetensors file, f32 or f64, with or without rnnc's metadata.
///
/// # Errors
/// Any way in which the file is not exactly a set of finite weights for these parameters.
pub fn load_weights(path: &Path, specs: Vec<ParameterSpec>) -> Result<Parameters, WeightsError> {
    let bytes = files::read(path)?;
    select(path, &parse(path, &bytes)?, specs)
}

/// As [`load_weights`], but flat and not rounded to f32 where the file has f64.
///
/// # Errors
/// As [`load_weights`].
pub fn load_weights_f64(path: &Path, specs: Vec<ParameterSpec>) -> Result<Vec<f64>, WeightsError> {
    let bytes = files::read(path)?;
    let tensors = parse(path, &bytes)?;
    let parameters = select(path, &tensors, specs)?;
    let mut values = Vec::with_capacity(parameters.values().len());
    for (spec, rounded) in parameters.iter() {
        match tensors.tensor(&spec.name) {
            Ok(tensor) if tensor.dtype() == Dtype::F64 => {
                values.extend(tensor.data().as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            _ => values.extend(rounded.iter().map(|&value| f64::from(value))),
        }
    }
    Ok(values)
}

/// The tensors of a file's bytes.
pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, WeightsError> {
    SafeTensors::deserialize(bytes).map_err(|error| {
        let path = path.to_path_buf();
        match error {
            // A header length and then JSON: it began as a safetensors file.
            SafeTensorError::InvalidHeaderLength | SafeTensorError::MetadataIncompleteBuffer
                if bytes.get(8) == Some(&b'{') && is_short(bytes) =>
            {
                WeightsError::Truncated { path }
            }
            other => WeightsError::NotSafetensors { path, reason: other.to_string() },
        }
    })
}

/// Whether fewer bytes are there than the header says. (More is no truncation.)
fn is_short(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<8>().map(|n| u64::from_le_bytes(*n)) else {
        return true;
    };
    let Some(header) = usize::try_from(header).ok().and_then(|n| bytes.get(8..n.checked_add(8)?)) else {
        return true;
    };
    let offsets = serde_json::from_slice::<serde_json::Value>(header).ok();
    let tensors = offsets.as_ref().and_then(|json| json.as_object());
    let ends = tensors.into_iter().flat_map(|map| map.values().filter_map(|t| t["data_offsets"][1].as_u64()));
    ends.max().is_some_and(|end| end > (bytes.len() - 8 - header.len()) as u64)
}

/// The parameters `specs` among the tensors.
pub(super) fn select(
    path: &Path,
    tensors: &SafeTensors,
    specs: Vec<ParameterSpec>,
) -> Result<Parameters, WeightsError> {
    let known = |name: &str| specs.iter().any(|spec| spec.name == name);
    let mut extra: Vec<String> = tensors.names().into_iter().map(str::to_string).collect();
    extra.retain(|name| !name.starts_with(RESERVED) && !known(name));
    let missing = specs.iter().filter(|spec| tensors.tensor(&spec.name).is_err());
    let missing: Vec<String> = missing.map(|spec| spec.name.clone()).collect();
    if !missing.is_empty() {
        return Err(WeightsError::Missing { path: path.to_path_buf(), names: missing });
    }
    if !extra.is_empty() {
        extra.sort();
        return Err(WeightsError::Extra { path: path.to_path_buf(), names: extra });
    }
    let mut values = Vec::new();
    for spec in &specs {
        let Ok(tensor) = tensors.tensor(&spec.name) else {
            continue;
        };
        if tensor.shape() != spec.shape {
            let (name, expected) = (spec.name.clone(), spec.shape.clone());
            let (path, found) = (path.to_path_buf(), tensor.shape().to_vec());
            return Err(WeightsError::Shape { path, name, expected, found });
        }
        values.extend(finite(path, &spec.name, &tensor)?);
    }
    Ok(Parameters::from_values(specs, values)?)
}

/// The values of a tensor as f32, all finite.
pub(super) fn finite(path: &Path, name: &str, tensor: &TensorView) -> Result<Vec<f32>, WeightsError> {
    let data = tensor.data();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        found => {
            return Err(WeightsError::Type { path: path.to_path_buf(), name: name.to_string(), found });
        }
    };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(element) => {
            let value = f64::from(values[element]);
            Err(WeightsError::NotFinite { path: path.to_path_buf(), name: name.to_string(), element, value })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::initializer::Initializer;

    fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
        let view = |(name, dtype, shape, data): &(&str, Dtype, &[usize], Vec<u8>)| {
            (
                name.to_string(),
                TensorView::new(*dtype, shape.to_vec(), data).unwrap().data().to_vec(),
                *dtype,
                shape.to_vec(),
            )
        };
        let owned: Vec<_> = tensors.iter().map(view).collect();
        let views = owned.iter().map(|(name, data, dtype, shape)| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn f64s(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn specs() -> Vec<ParameterSpec> {
        vec![
            ParameterSpec::new("W", &[1, 2], Initializer::Glorot),
            ParameterSpec::new("b", &[], Initializer::Zeros),
        ]
    }

    fn load(bytes: &[u8]) -> Result<Parameters, WeightsError> {
        let path = Path::new("w.safetensors");
        select(path, &parse(path, bytes)?, specs())
    }

    #[test]
    fn files_of_others() {
        let bytes =
            file(&[("b", Dtype::F64, &[], f64s(&[0.25])), ("W", Dtype::F32, &[1, 2], f32s(&[1.0, 2.0]))]);
        assert_eq!(load(&bytes).unwrap().values(), [1.0, 2.0, 0.25]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(load_weights(&path, specs()).unwrap().values(), [1.0, 2.0, 0.25]);
        assert!(matches!(
            load_weights(folder.path(), specs()),
            Err(WeightsError::File(FileError::NotAFile { .. }))
        ));
    }

    #[test]
    fn another_model() {
        let (w, b) =
            (("W", Dtype::F32, &[1, 2][..], f32s(&[1.0, 2.0])), ("b", Dtype::F32, &[][..], f32s(&[0.0])));
        let text = |tensors: &[_]| load(&file(tensors)).unwrap_err().to_string();
        assert_eq!(text(std::slice::from_ref(&w)), "w.safetensors is of another model: it has no `b`");
        assert_eq!(
            text(&[w.clone(), b.clone(), ("U", Dtype::F32, &[0], vec![])]),
            "w.safetensors is of another model: this one has no parameter `U`"
        );
        assert_eq!(
            text(&[("W", Dtype::F32, &[2, 1], f32s(&[1.0, 2.0])), b.clone()]),
            "w.safetensors is of another model: `W` is [2, 1] there and [1, 2] here"
        );
        assert_eq!(
            text(&[("W", Dtype::BF16, &[1, 2], vec![0; 4]), b.clone()]),
            "`W` in w.safetensors is BF16; only F32 and F64 are read"
        );
        assert!(load(&file(&[w, b, ("@state", Dtype::F32, &[0], vec![])])).is_ok());
        let many: Vec<String> = (0..7).map(|i| i.to_string()).collect();
        assert_eq!(list(&many), "`0`, `1`, `2`, `3`, `4`, and 2 more");
    }

    #[test]
    fn values_that_are_not_finite() {
        let with = |data: Vec<u8>, dtype| {
            let b = ("b", Dtype::F32, &[][..], f32s(&[0.0]));
            load(&file(&[("W", dtype, &[1, 2], data), b])).unwrap_err().to_string()
        };
        assert_eq!(
            with(f32s(&[1.0, f32::NAN]), Dtype::F32),
            "`W` in w.safetensors is not finite: element 1 is NaN"
        );
        assert_eq!(
            with(f64s(&[1e300, 0.0]), Dtype::F64),
            "`W` in w.safetensors is not finite: element 0 is inf"
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes =
            file(&[("W", Dtype::F32, &[1, 2], f32s(&[1.0, 2.0])), ("b", Dtype::F32, &[], f32s(&[0.0]))]);
        for length in 0..bytes.len() {
            let error = load(&bytes[..length]).unwrap_err();
            match error {
                WeightsError::NotSafetensors { .. } => assert!(length <= 8),
                WeightsError::Truncated { .. } => assert!(length > 8),
                other => panic!("{length}: {other}"),
            }
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(load(&longer), Err(WeightsError::NotSafetensors { .. })));
    }

    #[test]
    fn other_files() {
        for bytes in [&b""[..], b"hello", b"PK\x03\x04 a zip file, for example", &[0xff; 100], &[0; 100]] {
            let text = load(bytes).unwrap_err().to_string();
            assert!(text.starts_with("w.safetensors is not a safetensors file: "), "{text}");
        }
        let deep = [&10_000u64.to_le_bytes()[..], &[b'['; 10_000]].concat();
        assert!(load(&deep).is_err());
    }
}
