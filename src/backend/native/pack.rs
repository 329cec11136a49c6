//! Reordering a matrix into panels, so that a product reads it from front to back.
//!
//! A 2 x 10 matrix with panels of 8 columns becomes `[row 0: 0..8][row 1: 0..8][row 0: 8 9 and zeros]
//! [row 1: 8 9 and zeros]`.
//!
//! Panels are copied by functions of their own, one for each [`Piece`] that occurs, of which there is wide code
//! where the elements of a row or of a column lie one behind the other. Here is that for rows; [`super::transpose`]
//! has that for columns.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::code::{CHANGING, Code};
use super::emit::EmitError;
use crate::plan::{PANEL, Pack, Place};

/// What of a matrix is contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Rows, whose elements are so far apart.
    Rows(usize),
    /// Columns.
    Columns,
}

/// Panels of which so many columns are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// How the matrix lies.
    pub order: Order,
    /// Columns that exist, at most [`PANEL`].
    pub columns: usize,
    /// Columns that are written: behind those that exist, zeros.
    pub width: usize,
}

/// Parameters of a function that copies panels: where the first one's elements begin, the bytes from a row to the
/// next (from a column to the next, if columns are contiguous), where the first panel's columns begin, the number of
/// rows, the number of panels, which is not 0, and the bytes from a panel to the next. Several panels read columns
/// that lie side by side.
pub const PANELS_PARAMS: usize = 6;

/// Columns of a part that are copied together.
struct Span {
    /// The first column of the stretch that they are in.
    stretch: usize,
    /// Whole panels, or some columns of one.
    columns: Range<usize>,
}

/// In each stretch of `period` columns of the whole, the part's columns: those of a panel that begins before them,
/// whole ones, those of one that ends behind.
fn spans(pack: &Pack, period: usize) -> Vec<Span> {
    let (begin, end) = (pack.at[1], pack.at[1] + pack.n);
    let mut spans = Vec::new();
    for stretch in (begin / period * period..end).step_by(period) {
        let (first, last) = (begin.max(stretch), end.min(stretch + period));
        let whole = first.next_multiple_of(PANEL)..last / PANEL * PANEL;
        let cut = [first..last.min(whole.start), whole.clone(), last.min(whole.start.max(whole.end))..last];
        let some = cut.into_iter().filter(|columns| !columns.is_empty());
        spans.extend(some.map(|columns| Span { stretch, columns }));
    }
    spans
}

impl Span {
    /// The function that copies these columns.
    fn piece(&self, pack: &Pack) -> Piece {
        let order = order(&pack.source);
        let within = self.columns.start % PANEL;
        let columns = self.columns.len().min(PANEL);
        let is_last = self.columns.end == pack.whole[1];
        let width = if is_last { PANEL - within } else { columns };
        Piece { order, columns, width }
    }
}

/// The pieces that a packing is made of: functions that it calls.
pub fn pieces(pack: &Pack, period: usize) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for piece in spans(pack, period).iter().map(|span| span.piece(pack)) {
        if !pieces.contains(&piece) {
            pieces.push(piece);
        }
    }
    pieces
}

/// Emits the reordering of a part: in each stretch of `period` columns of the whole those that the function is
/// given, which are whole panels.
pub fn pack(code: &mut Code, pack: &Pack, period: usize) -> Result<(), EmitError> {
    let zero = code.int(0);
    let source = code.place_address(&pack.source, zero, 0)?;
    let to = code.base(pack.to);
    let to = code.plus(to, (pack.at[0] * PANEL * code.types.bytes) as i64);
    let (from, until) = code.columns();
    let pieces = pieces(pack, period);
    for span in spans(pack, period) {
        let piece = span.piece(pack);
        let Some(callee) = pieces.iter().position(|&own| own == piece) else { continue };
        // A worker's columns begin and end with panels, so that it has this panel if it has its first column.
        let panel = span.columns.start / PANEL * PANEL;
        let (low, high) = (panel - span.stretch, span.columns.end - span.stretch);
        let (low, high) = (code.int(low as i64), code.int(high as i64));
        let low = code.build.ins().smax(from, low);
        let high = code.build.ins().smin(until, high);
        let any = code.build.ins().icmp(IntCC::SignedLessThan, low, high);
        code.when(any, |code| {
            let column = code.plus(low, span.stretch as i64);
            let count = code.build.ins().isub(high, low);
            let count = code.plus(count, PANEL as i64 - 1);
            let bits = code.int(i64::from(PANEL.trailing_zeros()));
            let panels = code.build.ins().ushr(count, bits);
            call(code, pack, callee, (source, to), (column, span.columns.start % PANEL), panels);
            Ok(())
        })?;
    }
    Ok(())
}

/// Copies the panels from the one that begins at `column` on, from their columns `skipped` on.
fn call(
    code: &mut Code,
    pack: &Pack,
    callee: usize,
    (source, to): (Value, Value),
    (column, skipped): (Value, usize),
    panels: Value,
) {
    let bytes = code.types.bytes;
    let (row_stride, column_stride) = strides(&pack.source);
    let stride = match order(&pack.source) {
        Order::Columns => column_stride,
        Order::Rows(_) => row_stride,
    };
    let first = code.plus(column, skipped as i64 - pack.at[1] as i64);
    let from = code.element(source, first, column_stride * bytes);
    let to = code.element(to, column, pack.whole[0] * bytes);
    let to = code.plus(to, (skipped * bytes) as i64);
    let [stride, rows, pitch] =
        [stride * bytes, pack.k, pack.whole[0] * PANEL * bytes].map(|number| code.int(number as i64));
    let function = code.callees[callee];
    code.build.ins().call(function, &[from, stride, to, rows, panels, pitch]);
}

/// Emits the function that copies panels of a matrix whose rows' elements are so far apart.
pub fn panels(code: &mut Code, piece: Piece, apart: usize) -> Result<(), EmitError> {
    let [from, stride, to, rows, panels, pitch] = code.params[..] else { return Ok(()) };
    let (zero, bytes) = (code.int(0), code.types.bytes);
    code.count(zero, panels, 1, |code, panel| {
        let from = code.element(from, panel, PANEL * apart * bytes);
        let before = code.build.ins().imul(panel, pitch);
        let to = code.build.ins().iadd(to, before);
        code.count(zero, rows, 1, |code, row| {
            let before = code.build.ins().imul(row, stride);
            let from = code.build.ins().iadd(from, before);
            let to = code.element(to, row, PANEL * bytes);
            copy_padded(code, from, apart, to, piece.columns, piece.width);
            Ok(())
        })
    })
}

/// Parameters of [`gather`]: a table of the addresses of rows, where their columns begin in bytes, the first panel,
/// the number of rows, the number of panels, and the bytes from a panel to the next.
pub const GATHER_PARAMS: usize = 6;

/// Emits the function that copies the columns of some panels, of rows that lie anywhere.
pub fn gather(code: &mut Code) -> Result<(), EmitError> {
    let [table, offset, to, rows, panels, pitch] = code.params[..] else { return Ok(()) };
    let zero = code.int(0);
    code.count(zero, panels, 1, |code, panel| {
        let skipped = code.scaled(panel, PANEL * code.types.bytes);
        let offset = code.build.ins().iadd(offset, skipped);
        let before = code.build.ins().imul(panel, pitch);
        let to = code.build.ins().iadd(to, before);
        gather_columns(code, (table, rows), offset, to, PANEL)
    })
}

/// The same for a panel of which only so many columns exist, in line.
pub fn gather_columns(
    code: &mut Code,
    (table, rows): (Value, Value),
    offset: Value,
    to: Value,
    columns: usize,
) -> Result<(), EmitError> {
    let bytes = code.types.bytes;
    let zero = code.int(0);
    code.count(zero, rows, 1, |code, row| {
        let at = code.element(table, row, 8);
        let from = code.build.ins().load(types::I64, CHANGING, at, 0);
        let from = code.build.ins().iadd(from, offset);
        let to = code.element(to, row, PANEL * bytes);
        copy_padded(code, from, 1, to, columns, PANEL);
        Ok(())
    })
}

/// Copies `columns` elements into a panel's row and zeros behind them, `width` elements in all.
fn copy_padded(code: &mut Code, from: Value, stride: usize, to: Value, columns: usize, width: usize) {
    let types = code.types;
    let mut column = 0;
    while column < width {
        let offset = (column * types.bytes) as i32;
        let vector = column + types.lanes <= columns && stride == 1;
        let zeros = column >= columns && column + types.lanes <= width;
        let (value, width) = match (vector, zeros) {
            (true, _) => (code.build.ins().load(types.vector, CHANGING, from, offset), types.lanes),
            (_, true) => (code.vector_constant(0.0), types.lanes),
            _ if column < columns => {
                let (at, offset) = code.displaced(from, column * stride * types.bytes);
                (code.build.ins().load(types.real, CHANGING, at, offset), 1)
            }
            _ => (code.real(0.0), 1),
        };
        code.build.ins().store(CHANGING, value, to, offset);
        column += width;
    }
}

/// How a matrix lies.
pub fn order(matrix: &Place) -> Order {
    match strides(matrix) {
        (1, column) if column != 1 => Order::Columns,
        (_, apart) => Order::Rows(apart),
    }
}

fn strides(place: &Place) -> (usize, usize) {
    match place.strides[..] {
        [row, column] => (row, column),
        _ => (0, 0),
    }
}
