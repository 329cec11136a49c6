//! One array in NumPy's `.npy` form: NEP 1, *A simple file format for NumPy arrays*, versions 1 to 3.
//!
//! Reads floats of 4 and 8 bytes, integers of 1 to 8 bytes and booleans, of either byte order, in C or
//! Fortran order. The header is read here, not by a general parser of Python literals: it comes from
//! anywhere, and neither deep brackets nor a shape of 10^18 elements may take the process down. Memory
//! grows with the bytes that really come. Strings, records, complex numbers and pickles are refused.

use std::borrow::Cow;
use std::io::{self, Read};

use thiserror::Error;

/// An array of numbers, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Outermost dimension first; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many as the product of the shape.
    pub data: Data,
}

/// The numbers of an [`Array`], widened.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// From floats.
    Real(Vec<f64>),
    /// From integers and booleans.
    Integer(Vec<i64>),
}

impl Array {
    /// The numbers as reals, whatever they were.
    pub fn to_real(&self) -> Cow<'_, [f64]> {
        match &self.data {
            Data::Real(values) => Cow::Borrowed(values),
            Data::Integer(values) => Cow::Owned(values.iter().map(|&value| value as f64).collect()),
        }
    }

    /// The numbers, if they were integers.
    pub fn integers(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Real(_) => None,
            Data::Integer(values) => Some(values),
        }
    }
}

/// Why bytes are no array that can be used.
#[derive(Debug, Error)]
pub enum NpyError {
    /// Wrong first bytes.
    #[error("not a .npy array")]
    NotNpy,
    /// A version that does not exist yet.
    #[error("version {0}.{1} of the .npy format is not known")]
    Version(u8, u8),
    /// A header that cannot be understood.
    #[error("the header is damaged: {0}")]
    Header(&'static str),
    /// Strings, records, complex numbers, half floats, pickled objects.
    #[error("elements of type `{0}` are not read; use float32, float64, integers or bool")]
    Type(String),
    /// More elements than could be addressed.
    #[error("an array of shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    /// Fewer or more bytes than the shape needs.
    #[error("shape {shape:?} needs {expected} bytes of data, but there are {found}")]
    Length {
        /// From the header.
        shape: Vec<usize>,
        /// Bytes that the shape needs.
        expected: usize,
        /// `3`, or `more`.
        found: String,
    },
    /// An unsigned number beyond i64.
    #[error("the number {0} is too large")]
    Number(u64),
    /// Reading failed (also: a checksum of the archive).
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Longest header that is read; NumPy itself stops at 10,000 bytes unless told otherwise.
const LONGEST_HEADER: usize = 1 << 16;
/// NumPy's own limit.
const MOST_DIMENSIONS: usize = 64;

/// Reads one array to the end of `reader`.
///
/// # Errors
/// Anything but a whole array of numbers.
pub fn read_npy(reader: &mut impl Read) -> Result<Array, NpyError> {
    let header = read_header(reader)?;
    let shape = header.shape;
    let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let bytes = count.and_then(|count| count.checked_mul(header.element.size()));
    // Widened to eight bytes an element, it must still be addressable.
    let fits = count.and_then(|count| count.checked_mul(8)).is_some_and(|n| n <= isize::MAX as usize);
    let Some(expected) = bytes.filter(|_| fits) else {
        return Err(NpyError::TooLarge(shape));
    };
    let mut data = Vec::new();
    // One byte more than needed shows what is left over, and makes the archive check its checksum.
    reader.take(expected as u64 + 1).read_to_end(&mut data)?;
    if data.len() != expected {
        let found = if data.len() > expected { "more".to_string() } else { data.len().to_string() };
        return Err(NpyError::Length { shape, expected, found });
    }
    let data = header.element.decode(&data, header.big_endian)?;
    let data = match data {
        data if !header.fortran || shape.len() < 2 => data,
        Data::Real(values) => Data::Real(to_row_major(&values, &shape)),
        Data::Integer(values) => Data::Integer(to_row_major(&values, &shape)),
    };
    Ok(Array { shape, data })
}

/// Types of elements, with their sizes in bytes.
#[derive(Clone, Copy)]
enum Element {
    Bool,
    Float(usize),
    Signed(usize),
    Unsigned(usize),
}

impl Element {
    fn size(self) -> usize {
        match self {
            Element::Bool => 1,
            Element::Float(size) | Element::Signed(size) | Element::Unsigned(size) => size,
        }
    }

    /// `<f4`, `>i8`, `|b1`, … and whether it is big-endian.
    fn parse(text: &str) -> Result<(Element, bool), NpyError> {
        let refuse = || NpyError::Type(text.chars().take(40).collect());
        let (order, rest) = text.split_at_checked(1).ok_or_else(refuse)?;
        let element = match rest {
            "b1" => Element::Bool,
            "f4" => Element::Float(4),
            "f8" => Element::Float(8),
            "i1" => Element::Signed(1),
            "i2" => Element::Signed(2),
            "i4" => Element::Signed(4),
            "i8" => Element::Signed(8),
            "u1" => Element::Unsigned(1),
            "u2" => Element::Unsigned(2),
            "u4" => Element::Unsigned(4),
            "u8" => Element::Unsigned(8),
            _ => return Err(refuse()),
        };
        match order {
            "<" | "|" => Ok((element, false)),
            ">" => Ok((element, true)),
            "=" => Ok((element, cfg!(target_endian = "big"))),
            _ => Err(refuse()),
        }
    }

    fn decode(self, data: &[u8], big_endian: bool) -> Result<Data, NpyError> {
        // An element as the low bytes of a word, whatever the order.
        let word = |element: &[u8]| {
            let join = |word: u64, byte: &u8| (word << 8) | u64::from(*byte);
            if big_endian { element.iter().fold(0, join) } else { element.iter().rev().fold(0, join) }
        };
        let words = data.chunks_exact(self.size()).map(word);
        Ok(match self {
            Element::Float(4) => Data::Real(words.map(|w| f64::from(f32::from_bits(w as u32))).collect()),
            Element::Float(_) => Data::Real(words.map(f64::from_bits).collect()),
            Element::Bool => Data::Integer(words.map(|w| i64::from(w != 0)).collect()),
            Element::Signed(size) => {
                let shift = 64 - 8 * size as u32;
                Data::Integer(words.map(|w| ((w << shift) as i64) >> shift).collect())
            }
            Element::Unsigned(_) => {
                let signed = words.map(|w| i64::try_from(w).map_err(|_| NpyError::Number(w)));
                Data::Integer(signed.collect::<Result<_, _>>()?)
            }
        })
    }
}

/// Row-major values from column-major ones.
fn to_row_major<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let mut row_major = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let place = index.iter().zip(shape).rev().fold(0, |place, (i, n)| place * n + i);
        row_major.push(values[place]);
        for (i, n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
    row_major
}

struct Header {
    element: Element,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
}

fn read_header(reader: &mut impl Read) -> Result<Header, NpyError> {
    let short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => NpyError::NotNpy,
        _ => NpyError::Io(error),
    };
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(short)?;
    let [magic @ .., major, minor] = start;
    if &magic != b"\x93NUMPY" {
        return Err(NpyError::NotNpy);
    }
    let length = match (major, minor) {
        (1, 0) => {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes).map_err(short)?;
            usize::from(u16::from_le_bytes(bytes))
        }
        (2 | 3, 0) => {
            let mut bytes = [0; 4];
            reader.read_exact(&mut bytes).map_err(short)?;
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        }
        _ => return Err(NpyError::Version(major, minor)),
    };
    if length > LONGEST_HEADER {
        return Err(NpyError::Header("it is too long"));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(short)?;
    let text = std::str::from_utf8(&text).map_err(|_| NpyError::Header("it is not text"))?;
    Literal { rest: text }.header()
}

/// A reader of the one Python literal that a header is:
/// `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
struct Literal<'a> {
    rest: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, NpyError> {
        let (mut element, mut fortran, mut shape) = (None, None, None);
        self.expect('{', "it is no dictionary")?;
        while !self.take('}') {
            let key = self.string()?;
            self.expect(':', "a key has no value")?;
            match key {
                "descr" if self.peek('[') => return Err(NpyError::Type("a record".to_string())),
                "descr" => element = Some(Element::parse(self.string()?)?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return Err(NpyError::Header("it has an unknown key")),
            }
            if !self.take(',') && !self.peek('}') {
                return Err(NpyError::Header("a comma is missing"));
            }
        }
        match (element, fortran, shape) {
            (Some((element, big_endian)), Some(fortran), Some(shape)) => {
                Ok(Header { element, big_endian, fortran, shape })
            }
            _ => Err(NpyError::Header("it lacks `descr`, `fortran_order` or `shape`")),
        }
    }

    fn peek(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.starts_with(wanted)
    }

    fn take(&mut self, wanted: char) -> bool {
        let here = self.peek(wanted);
        if here {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        here
    }

    fn expect(&mut self, wanted: char, problem: &'static str) -> Result<(), NpyError> {
        if self.take(wanted) { Ok(()) } else { Err(NpyError::Header(problem)) }
    }

    fn string(&mut self) -> Result<&'a str, NpyError> {
        let quote = if self.peek('"') { '"' } else { '\'' };
        self.expect(quote, "a text has no quotes")?;
        let (text, rest) = self.rest.split_once(quote).ok_or(NpyError::Header("a text has no end"))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        self.rest = self.rest.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(NpyError::Header("`fortran_order` is neither True nor False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, NpyError> {
        let mut numbers = Vec::new();
        self.expect('(', "`shape` is no tuple")?;
        while !self.take(')') {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            // Python 2 wrote `3L`.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            numbers.push(digits.parse().map_err(|_| NpyError::Header("`shape` holds no number"))?);
            if numbers.len() > MOST_DIMENSIONS {
                return Err(NpyError::Header("`shape` has too many dimensions"));
            }
            if !self.take(',') && !self.peek(')') {
                return Err(NpyError::Header("`shape` has no end"));
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A version 1 file.
    pub fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn header(kind: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}   \n")
    }

    fn read(kind: &str, shape: &str, data: &[u8]) -> Result<Array, NpyError> {
        read_npy(&mut &npy(&header(kind, "False", shape), data)[..])
    }

    fn error(header: &str, data: &[u8]) -> String {
        read_npy(&mut &npy(header, data)[..]).unwrap_err().to_string()
    }

    #[test]
    fn floats_of_both_orders() {
        let numbers = [1.5f32, -0.0, f32::INFINITY];
        let little: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
        let big: Vec<u8> = numbers.iter().flat_map(|v| v.to_be_bytes()).collect();
        let expected = Array { shape: vec![3], data: Data::Real(vec![1.5, -0.0, f64::INFINITY]) };
        assert_eq!(read("<f4", "(3,)", &little).unwrap(), expected);
        assert_eq!(read(">f4", "(3,)", &big).unwrap(), expected);
        let scalar = read(">f8", "()", &0.1f64.to_be_bytes()).unwrap();
        assert_eq!(scalar, Array { shape: vec![], data: Data::Real(vec![0.1]) });
        assert_eq!(scalar.integers(), None);
    }

    #[test]
    fn integers_of_every_size() {
        let read = |kind: &str, data: &[u8]| match read(kind, "(1,)", data).unwrap().data {
            Data::Integer(values) => values[0],
            Data::Real(_) => panic!("{kind}"),
        };
        assert_eq!(read("|i1", &[0xfe]), -2);
        assert_eq!(read("|u1", &[0xfe]), 254);
        assert_eq!(read("|b1", &[1]), 1);
        assert_eq!(read("<i2", &(-300i16).to_le_bytes()), -300);
        assert_eq!(read(">u2", &60_000u16.to_be_bytes()), 60_000);
        assert_eq!(read(">i4", &i32::MIN.to_be_bytes()), i64::from(i32::MIN));
        assert_eq!(read("<u4", &u32::MAX.to_le_bytes()), i64::from(u32::MAX));
        assert_eq!(read("<i8", &i64::MIN.to_le_bytes()), i64::MIN);
        assert_eq!(read("<u8", &7u64.to_le_bytes()), 7);
    }

    #[test]
    fn fortran_order_becomes_row_major() {
        let bytes: Vec<u8> = (0..24u8).collect();
        let array = read_npy(&mut &npy(&header("|u1", "True", "(2, 3, 4)"), &bytes)[..]).unwrap();
        let at = |i: i64, j: i64, k: i64| i + 2 * j + 6 * k;
        let expected: Vec<i64> = (0..24).map(|place| at(place / 12, place / 4 % 3, place % 4)).collect();
        assert_eq!(array, Array { shape: vec![2, 3, 4], data: Data::Integer(expected) });
        assert_eq!(array.to_real()[1], 6.0);
        let empty = read_npy(&mut &npy(&header("|u1", "True", "(0, 3)"), &[])[..]).unwrap();
        assert_eq!(empty.shape, [0, 3]);
    }

    #[test]
    fn headers_as_others_write_them() {
        let python2 = "{\"shape\":(2L,),\"fortran_order\":False,\"descr\":\"|b1\"}";
        assert_eq!(read_npy(&mut &npy(python2, &[0, 1])[..]).unwrap().shape, [2]);
        let text = header("|u1", "False", "(1, 1)");
        let length = (text.len() as u32).to_le_bytes();
        let version3 = [b"\x93NUMPY\x03\x00", &length[..], text.as_bytes(), &[9]].concat();
        assert_eq!(read_npy(&mut &version3[..]).unwrap().integers(), Some(&[9][..]));
    }

    #[test]
    fn other_types_are_refused() {
        for kind in ["<f2", "<c8", "|O", "<U3", "|S7", "", "é", "<f16"] {
            let text = error(&header(kind, "False", "(1,)"), &[]);
            assert!(text.starts_with(&format!("elements of type `{kind}` are not read")), "{text}");
        }
        let record = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}";
        assert!(error(record, &[]).contains("`a record`"));
        assert!(error(&header("<u8", "False", "(1,)"), &[0xff; 8]).contains("too large"));
    }

    #[test]
    fn absurd_headers() {
        let shape = |shape: &str| error(&header("<f8", "False", shape), &[0; 8]);
        assert!(shape("(2000000000000000000,)").contains("too large"));
        assert!(shape("(4294967296, 4294967296, 4)").contains("too large"));
        assert!(shape("(100000000000000,)").contains("needs 800000000000000 bytes of data, but there are 8"));
        assert!(shape("(99999999999999999999,)").contains("`shape` holds no number"));
        assert!(shape("(-1,)").contains("`shape` holds no number"));
        assert!(shape(&format!("({})", "1,".repeat(1000))).contains("too many dimensions"));
        assert!(error(&"(".repeat(60_000), &[]).contains("no dictionary"));
        assert!(error(&"{".repeat(60_000), &[]).contains("no quotes"));
        let long = [b"\x93NUMPY\x02\x00", &u32::MAX.to_le_bytes()[..]].concat();
        assert!(read_npy(&mut &long[..]).unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn damaged_files() {
        assert!(matches!(read_npy(&mut &b"PK"[..]), Err(NpyError::NotNpy)));
        assert!(matches!(read_npy(&mut &b"\x93NUMPY\x09\x00"[..]), Err(NpyError::Version(9, 0))));
        let good = npy(&header("<i2", "False", "(2, 1)"), &[1, 0, 2, 0]);
        for length in 0..good.len() {
            assert!(read_npy(&mut &good[..length]).is_err());
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x11;
            let _ = read_npy(&mut &bad[..]);
        }
        let longer = [&good[..], &[0]].concat();
        let text = read_npy(&mut &longer[..]).unwrap_err().to_string();
        assert_eq!(text, "shape [2, 1] needs 4 bytes of data, but there are more");
        assert!(error("{'descr': '<f4'}", &[]).contains("lacks"));
        assert!(error("{'colour': 1}", &[]).contains("unknown key"));
        assert!(error("{'shape': (1 2)}", &[]).contains("no end"));
        assert!(error("{'fortran_order': maybe}", &[]).contains("neither"));
    }
}
