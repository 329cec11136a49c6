//! What teams do together: products block by block in local memory, sums and scatter over many rows.
//!
//! Each is a function over rows `begin..end` whose blocks are divided among `teams`; `shared` is the team's local
//! memory, so many numbers as [`room`] says. What comes to local memory is in `kernels/blocks.cl`.

use super::EmitError;
use super::across::{TEAM_PARAMETERS, place_rows};
use super::address::{Scope, plus};
use super::rows::{combiner, row_epilogue, rows_by_teams};
use super::text::Text;
use super::units::{Epilogue, Unit, Windows};
use crate::plan::{Combine, Combining, Gemm, Outer, Scatter, Work};

/// Columns of a reduction over rows that a team does at most.
const REDUCED: usize = 8;

/// Macros of a block: rows of a work-item, terms that are brought at a time.
fn sizes(unit: &Unit) -> (&'static str, &'static str) {
    if unit.looped { ("STEP_EACH", "STEP_DEPTH") } else { ("EACH", "DEPTH") }
}

/// Numbers of local memory that a unit takes, as an expression of macros.
pub(super) fn room(unit: &Unit) -> String {
    let (each, depth) = sizes(unit);
    match (&unit.kernel.work, unit.epilogue) {
        (Work::Gemm(_), Some(_)) => format!("LARGER(BROUGHT({each}, {depth}), SUMS({each}))"),
        (Work::Gemm(_) | Work::Outer(_), _) => format!("BROUGHT({each}, {depth})"),
        _ => "2 * LANES".into(),
    }
}

/// Writes the function of a unit, `k{number}_team`.
///
/// # Errors
/// An instruction that has no form in C.
pub(super) fn team(scope: &Scope, text: &mut Text, unit: &Unit) -> Result<(), EmitError> {
    let (prefix, number) = (scope.prefix, unit.number);
    if let Work::Rows(rows) = &unit.kernel.work {
        return rows_by_teams(scope, text, number, rows);
    }
    if let (Some(Epilogue { phase, windows, .. }), Work::Gemm(own)) = (unit.epilogue, &unit.kernel.work)
        && let Some(space) = unit.kernel.work.space()
    {
        row_epilogue(scope, text, number + 1, space, phase, own, windows)?;
    }
    text.block(format!("static inline void {prefix}{number}_team({TEAM_PARAMETERS})"), |text| {
        scope.declare(text, &unit.kernel.work);
        match &unit.kernel.work {
            Work::Gemm(own) => gemm(scope, text, unit, own),
            Work::Outer(own) => outer(scope, text, own),
            Work::Combine(own) => combine(scope, text, own),
            Work::Scatter(own) => scatter(scope, text, own),
            Work::Rows(_) | Work::Pack(_) | Work::Random(_) => {}
        }
    });
    text.line("");
    Ok(())
}

/// Blocks of rows and columns, as a loop.
fn blocks(text: &mut Text, down: &str, across: &str, body: impl FnOnce(&mut Text)) {
    text.line(format!("const int down = {down}, across = {across};"));
    text.block("for (int item = team; item < down * across; item += teams)", body);
}

fn sums(text: &mut Text, each: &str) {
    text.line(format!("real4 sum[{each}];"));
    text.line(format!("UNROLL for (int i = 0; i < {each}; ++i) sum[i] = (real4)(0);"));
}

fn gemm(scope: &Scope, text: &mut Text, unit: &Unit, gemm: &Gemm) {
    let (each, depth) = sizes(unit);
    // Without an epilogue all columns are one window.
    let windows =
        unit.epilogue.map_or(Windows { count: 1, base: 0, stride: 0, width: gemm.n }, |own| own.windows);
    let Windows { count, base, stride, width } = windows;
    let (a, out) = place_rows(scope, gemm);
    let (k, n) = (gemm.k, gemm.n);
    text.line(format!("const int piece = PIECE({count});"));
    text.line(format!("LOCAL real *const left = shared + {depth} * BLOCK_COLUMNS;"));
    let down = format!("(end - begin + BLOCK_ROWS({each}) - 1) / BLOCK_ROWS({each})");
    blocks(text, &down, &format!("({width} + piece - 1) / piece"), |text| {
        text.line(format!(
            "const int first = begin + item / across * BLOCK_ROWS({each}), from = item % across * piece;"
        ));
        sums(text, each);
        text.block(format!("for (int at = 0; at < {k}; at += {depth})"), |text| {
            text.line(format!(
                "bring_packed(shared, {}, {k}, at, {depth}, {count}, piece, {base}, {stride}, from, {width});",
                scope.name(gemm.packed)
            ));
            let all = format!("BLOCK_ROWS({each}) * ({depth} / 4)");
            text.block(format!("for (int part = LANE; part < {all}; part += LANES)"), |text| {
                text.line(format!("const int own = part / ({depth} / 4), term = part % ({depth} / 4) * 4;"));
                text.line("const int row = min(first + own, end - 1);");
                text.line(format!(
                    "bring_down(left, own, term, PITCH({each}), four({a}, at + term, {k}));"
                ));
            });
            text.line("TEAM_MEETS;");
            text.line(format!("multiply(sum, shared, left, {each}, {depth});"));
            text.line("TEAM_MEETS;");
        });
        let Some(epilogue) = unit.epilogue else {
            text.line("const int column = from + LANE % LANE_COLUMNS * 4;");
            text.block(format!("UNROLL for (int i = 0; i < {each}; ++i)"), |text| {
                text.line("const int row = first + i * LANE_ROWS + LANE / LANE_COLUMNS;");
                let add = u8::from(gemm.accumulate);
                text.line(format!("if (row < end) put_four({out} + column, sum[i], {n} - column, {add});"));
            });
            return;
        };
        text.line(format!("keep(shared, sum, {each});"));
        text.line("TEAM_MEETS;");
        text.line(format!("const int rows = min(BLOCK_ROWS({each}), end - first);"));
        text.block("for (int point = LANE; point < rows * piece; point += LANES)", |text| {
            text.line("const int own = point / piece, column = from + point % piece;");
            text.line(format!("if (column < {width})"));
            text.line(format!(
                "  {}{}_epilogue(SAME, step, first + own, column, column + 1, shared + own * BLOCK_COLUMNS - from);",
                scope.prefix,
                unit.number + 1
            ));
        });
        text.line("TEAM_MEETS;");
        debug_assert!(epilogue.phase.dims == [width]);
    });
}

fn outer(scope: &Scope, text: &mut Text, outer: &Outer) {
    let Outer { m, n, .. } = *outer;
    let a = scope.place(&outer.a, "row", outer.a.offset + m);
    let b = scope.place(&outer.b, "row", outer.b.offset + n);
    text.line("LOCAL real *const left = shared + DEPTH * BLOCK_COLUMNS;");
    let down = format!("({m} + BLOCK_ROWS(EACH) - 1) / BLOCK_ROWS(EACH)");
    blocks(text, &down, &format!("({n} + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS"), |text| {
        text.line(
            "const int first = item / across * BLOCK_ROWS(EACH), from = item % across * BLOCK_COLUMNS;",
        );
        sums(text, "EACH");
        text.block("for (int at = begin; at < end; at += DEPTH)", |text| {
            text.block("for (int part = LANE; part < DEPTH * LANE_COLUMNS; part += LANES)", |text| {
                text.line("const int term = part / LANE_COLUMNS, column = part % LANE_COLUMNS * 4;");
                text.line("const int row = min(at + term, end - 1);");
                text.line(format!("const real4 own = four({b}, from + column, {n});"));
                text.line(
                    "vstore4(at + term < end ? own : (real4)(0), 0, shared + term * BLOCK_COLUMNS + column);",
                );
            });
            text.block("for (int part = LANE; part < DEPTH * (BLOCK_ROWS(EACH) / 4); part += LANES)", |text| {
                text.line("const int term = part / (BLOCK_ROWS(EACH) / 4), i = part % (BLOCK_ROWS(EACH) / 4) * 4;");
                text.line("const int row = min(at + term, end - 1);");
                text.line(format!("const real4 own = four({a}, first + i, {m});"));
                text.line("bring_across(left, i, term, PITCH(EACH), at + term < end ? own : (real4)(0));");
            });
            text.line("TEAM_MEETS;");
            text.line("multiply(sum, shared, left, EACH, DEPTH);");
            text.line("TEAM_MEETS;");
        });
        text.line("const int column = from + LANE % LANE_COLUMNS * 4;");
        text.block("UNROLL for (int i = 0; i < EACH; ++i)", |text| {
            text.line("const int down = first + i * LANE_ROWS + LANE / LANE_COLUMNS;");
            let out = plus(&scope.name(outer.out.at.buffer), outer.out.offset);
            let (pitch, add) = (outer.out.pitch, u8::from(outer.accumulate));
            text.line(format!(
                "if (down < {m}) put_four({out} + (long)down * {pitch} + column, sum[i], {n} - column, {add});"
            ));
        });
    });
}

/// Columns of a reduction that a team does, and how many such parts there are.
pub(super) fn reduced(combine: &Combine) -> (usize, usize) {
    let columns = combine.width.next_power_of_two().min(REDUCED);
    (columns, combine.width.div_ceil(columns))
}

/// All rows into one: the rows are divided among the work-items that share a column.
fn combine(scope: &Scope, text: &mut Text, combine: &Combine) {
    let (columns, parts) = reduced(combine);
    let stride = combine.value.strides.first().copied().unwrap_or(0);
    let span = crate::plan::places::span(&combine.value, &[combine.width]);
    let value = scope.place(&combine.value, "row", span);
    let out = scope.place(&combine.out, "0", combine.out.offset + combine.width);
    let start = match combine.how {
        Combining::Sum => "0",
        Combining::Max => "-(real)INFINITY",
    };
    let how = combiner(combine.how);
    text.line(format!("const int columns = LANES < {columns} ? LANES : {columns};"));
    text.line(format!("const int parts = {parts} * ({columns} / columns);"));
    text.block("for (int part = team; part < parts; part += teams)", |text| {
        text.line("const int column = part * columns + LANE % columns;");
        text.line(format!("real own = {start};"));
        text.block(format!("if (column < {})", combine.width), |text| {
            text.line("for (int row = begin + LANE / columns; row < end; row += LANES / columns)");
            text.line(format!("  own = {how}(own, ({value})[column * {stride}]);"));
        });
        text.line("shared[LANE] = own;");
        text.line("TEAM_MEETS;");
        text.block("for (int reach = LANES / columns / 2; reach > 0; reach /= 2)", |text| {
            text.line("const int other = LANE + reach * columns;");
            text.line(format!(
                "if (LANE < reach * columns) shared[LANE] = {how}(shared[LANE], shared[other]);"
            ));
            text.line("TEAM_MEETS;");
        });
        text.line(format!(
            "if (LANE < columns && column < {}) ({out})[column] = begin < end ? shared[LANE] : 0;",
            combine.width
        ));
        text.line("TEAM_MEETS;");
    });
}

/// A row of the result a team, whose work-items look for its rows together and add up columns of their own, so that
/// each element is added up in the order of the rows.
fn scatter(scope: &Scope, text: &mut Text, scatter: &Scatter) {
    let Scatter { m, n, .. } = *scatter;
    let pitch = scatter.out.pitch;
    let out = plus(&scope.name(scatter.out.at.buffer), scatter.out.offset);
    let id = scope.place(&scatter.id, "row", scatter.id.offset + 1);
    let value = scope.place(&scatter.value, "row", scatter.value.offset + n);
    text.line("LOCAL uint *const ids = (LOCAL uint *)shared;");
    text.block(format!("for (int target = team; target < {m}; target += teams)"), |text| {
        text.line(format!("GLOBAL real *const sum = {out} + (long)target * {pitch};"));
        if !scatter.accumulate {
            text.line(format!("for (int j = LANE; j < {n}; j += LANES) sum[j] = 0;"));
        }
        text.block("for (int first = begin; first < end; first += LANES)", |text| {
            text.block("if (first + LANE < end)", |text| {
                text.line("const int row = first + LANE;");
                text.line(format!("ids[LANE] = *({id});"));
            });
            text.line("TEAM_MEETS;");
            text.block("for (int at = 0; at < min(LANES, end - first); ++at)", |text| {
                text.line("if (ids[at] != (uint)target) continue;");
                text.line("const int row = first + at;");
                text.line(format!("for (int j = LANE; j < {n}; j += LANES) sum[j] += ({value})[j];"));
            });
            text.line("TEAM_MEETS;");
        });
    });
}
