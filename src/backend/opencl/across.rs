//! Kernels that are not row kernels: products, sums of outer products, reductions over rows, scatter, random
//! numbers. Each is a function over rows `begin..end` whose items are divided among `workers`.

use super::address::{Scope, plus};
use super::rows::combiner;
use super::text::Text;
use crate::plan::{Combine, Combining, Gemm, GemmRows, Outer, PANEL, Pack, Random, Scatter, Work};

/// Parameters of such a function.
pub(super) const PARAMETERS: &str =
    "CONTEXT, const int step, const int begin, const int end, const int worker, const int workers";

/// Parameters of a function that teams do together.
pub(super) const TEAM_PARAMETERS: &str = "CONTEXT, const int step, const int begin, const int end, const int team, const int teams, LOCAL real *const shared";

/// Items of a range, as a loop.
fn items(text: &mut Text, count: &str, body: impl FnOnce(&mut Text)) {
    text.block(format!("for (int item = worker; item < {count}; item += workers)"), body);
}

/// Writes the function of a kernel, `k{number}`; row kernels are none of these.
pub(super) fn across(scope: &Scope, text: &mut Text, number: usize, work: &Work) {
    let prefix = scope.prefix;
    text.block(format!("static inline void {prefix}{number}({PARAMETERS})"), |text| {
        scope.declare(text, work);
        match work {
            Work::Rows(_) => {}
            Work::Gemm(own) => gemm(scope, text, own),
            Work::Pack(own) => pack(scope, text, own),
            Work::Outer(own) => outer(scope, text, own),
            Work::Combine(own) => combine(scope, text, own),
            Work::Scatter(own) => scatter(scope, text, own),
            Work::Random(own) => random(scope, text, own),
        }
    });
    text.line("");
}

fn gemm(scope: &Scope, text: &mut Text, gemm: &Gemm) {
    let panels = gemm.n.div_ceil(PANEL);
    text.line(format!("const int across = ({panels} + TILE_PANELS - 1) / TILE_PANELS;"));
    text.line("const int tiles = (end - begin + TILE_ROWS - 1) / TILE_ROWS;");
    items(text, "tiles * across", |text| {
        text.line("const int first = begin + item / across * TILE_ROWS;");
        text.line("const int column = item % across * TILE_COLUMNS;");
        text.line("GLOBAL const real *a[TILE_ROWS];");
        text.line("GLOBAL real *out[TILE_ROWS];");
        text.block("for (int i = 0; i < TILE_ROWS; ++i)", |text| {
            text.line("const int row = min(first + i, end - 1);");
            let (a, out) = place_rows(scope, gemm);
            text.line(format!("a[i] = {a};"));
            text.line(format!("out[i] = {out} + column;"));
        });
        text.line(format!(
            "product_tile(a, {} + (long)column * {}, out, {}, {} - column, end - first, {});",
            scope.name(gemm.packed),
            gemm.k,
            gemm.k,
            gemm.n,
            u8::from(gemm.accumulate)
        ));
    });
}

/// Where the row `row` of a product's left side and of its result begins.
pub(super) fn place_rows(scope: &Scope, gemm: &Gemm) -> (String, String) {
    match gemm.rows {
        GemmRows::Space(_) => (
            scope.place(&gemm.a, "row", gemm.a.offset + gemm.k),
            scope.place(&gemm.out, "row", gemm.out.offset + gemm.n),
        ),
        GemmRows::Static(_) => (
            format!("{} + (long)row * {}", scope.place(&gemm.a, "0", gemm.k), gemm.a.pitch),
            format!("{} + (long)row * {}", scope.place(&gemm.out, "0", gemm.n), gemm.out.pitch),
        ),
    }
}

/// The panels of the whole matrix that a part lies in: the first one, and how many.
pub(super) fn panels(pack: &Pack) -> (usize, usize) {
    let first = pack.at[1] / PANEL;
    (first, (pack.at[1] + pack.n).div_ceil(PANEL) - first)
}

fn pack(scope: &Scope, text: &mut Text, pack: &Pack) {
    let (first, count) = panels(pack);
    let strides = (pack.source.strides.first().copied(), pack.source.strides.get(1).copied());
    let (down, across) = (strides.0.unwrap_or(0), strides.1.unwrap_or(0));
    let source = scope.place(&pack.source, "0", pack.source.offset);
    let [top, left] = pack.at;
    let right = left + pack.n;
    // The last part fills its panel up with zeros.
    let end = if right == pack.whole[1] { right.next_multiple_of(PANEL) } else { right };
    text.line(format!("GLOBAL const real *const from = {source};"));
    items(text, &format!("{}", count * pack.k), |text| {
        text.line(format!("const int i = item % {}, panel = {first} + item / {};", pack.k, pack.k));
        text.line(format!(
            "GLOBAL real *const to = {} + ((long)panel * {} + {top} + i) * {PANEL};",
            scope.name(pack.to),
            pack.whole[0]
        ));
        text.line(format!("const int last = min({end}, (panel + 1) * {PANEL});"));
        text.line(format!("for (int column = max({left}, panel * {PANEL}); column < last; ++column)"));
        let value = format!("from[(long)i * {down} + (long)(column - {left}) * {across}]");
        text.line(format!("  to[column - panel * {PANEL}] = column < {right} ? {value} : 0;"));
    });
}

fn outer(scope: &Scope, text: &mut Text, outer: &Outer) {
    let Outer { m, n, .. } = *outer;
    text.line(format!("const int across = ({n} + TILE_COLUMNS - 1) / TILE_COLUMNS;"));
    text.line(format!("const int down = ({m} + TILE_ROWS - 1) / TILE_ROWS;"));
    items(text, "down * across", |text| {
        text.line("const int i = item / across * TILE_ROWS, column = item % across * TILE_COLUMNS;");
        text.line("real16 sum[TILE_ROWS][TILE_PANELS];");
        text.line("UNROLL for (int r = 0; r < TILE_ROWS; ++r)");
        text.line("  UNROLL for (int p = 0; p < TILE_PANELS; ++p) sum[r][p] = (real16)(0);");
        let a = scope.place(&outer.a, "row", outer.a.offset + m);
        let b = scope.place(&outer.b, "row", outer.b.offset + n);
        text.line("for (int row = begin; row < end; ++row)");
        text.line(format!("  outer_row(sum, {a} + i, {b} + column);"));
        let out = plus(&scope.name(outer.out.at.buffer), outer.out.offset);
        text.line(format!(
            "outer_store(sum, {out} + (long)i * {} + column, {}, {m} - i, {n} - column, {});",
            outer.out.pitch,
            outer.out.pitch,
            u8::from(outer.accumulate)
        ));
    });
}

/// Vectors of columns of a combination, and these and the single columns behind them together.
pub(super) fn pieces(combine: &Combine) -> (usize, usize) {
    let dense = combine.value.strides.first() == Some(&1);
    let whole = if dense { combine.width / PANEL } else { 0 };
    (whole, whole + combine.width - whole * PANEL)
}

fn combine(scope: &Scope, text: &mut Text, combine: &Combine) {
    let stride = combine.value.strides.first().copied().unwrap_or(0);
    let (whole, pieces) = pieces(combine);
    let count = match combine.list {
        Some(_) => format!("(end - begin) * {pieces}"),
        None => pieces.to_string(),
    };
    items(text, &count, |text| {
        match combine.list {
            Some(list) => {
                text.line(format!("const int target = begin + item / {pieces}, piece = item % {pieces};"));
                text.line(format!("GLOBAL const int *const list = TABLE({});", scope.slots.list_rows(list)));
                let starts = scope.slots.list_starts(list);
                text.line(format!(
                    "const int first = TABLE({starts})[target], last = TABLE({starts})[target + 1];"
                ));
            }
            None => {
                text.line("const int target = 0, piece = item, first = begin, last = end;");
            }
        }
        let row = if combine.list.is_some() { "list[at]" } else { "at" };
        let value = |row: &str| {
            scope.place(&combine.value, row, crate::plan::places::span(&combine.value, &[combine.width]))
        };
        let out = scope.place(&combine.out, "target", combine.out.offset + combine.width);
        let start = match combine.how {
            Combining::Sum => "0",
            Combining::Max => "-(real)INFINITY",
        };
        if whole > 0 {
            let combined = format!("sum = {}_16(sum, vload16(0, value));", combiner(combine.how));
            text.block(format!("if (piece < {whole})"), |text| {
                text.line(format!("real16 sum = (real16)({start});"));
                text.block("for (int at = first; at < last; ++at)", |text| {
                    text.line(format!("GLOBAL const real *const value = {} + piece * {PANEL};", value(row)));
                    text.line(combined);
                });
                text.line(format!("vstore16(first < last ? sum : (real16)(0), piece, {out});"));
                text.line("continue;");
            });
        }
        let column =
            if whole > 0 { format!("(piece - {whole} + {})", whole * PANEL) } else { "piece".into() };
        text.line(format!("const int column = {column};"));
        text.line(format!("real sum = {start};"));
        text.line("for (int at = first; at < last; ++at)");
        text.line(format!("  sum = {}(sum, ({})[column * {stride}]);", combiner(combine.how), value(row)));
        text.line(format!("({out})[column] = first < last ? sum : 0;"));
    });
}

fn scatter(scope: &Scope, text: &mut Text, scatter: &Scatter) {
    let Scatter { m, n, .. } = *scatter;
    let pitch = scatter.out.pitch;
    let out = plus(&scope.name(scatter.out.at.buffer), scatter.out.offset);
    // A worker has some columns of every row, so that each element is added up by one, in the order of the rows.
    items(text, &format!("({n} + CHUNK - 1) / CHUNK"), |text| {
        text.line(format!("const int from = item * CHUNK, to = min({n}, from + CHUNK);"));
        if !scatter.accumulate {
            text.line(format!("for (int i = 0; i < {m}; ++i)"));
            text.line(format!("  for (int j = from; j < to; ++j) ({out})[(long)i * {pitch} + j] = 0;"));
        }
        text.block("for (int row = begin; row < end; ++row)", |text| {
            let id = scope.place(&scatter.id, "row", scatter.id.offset + 1);
            let value = scope.place(&scatter.value, "row", scatter.value.offset + n);
            text.line(format!("const uint id = *({id});"));
            text.line(format!("if (id >= {m}u) continue;"));
            text.line(format!("GLOBAL const real *const value = {value};"));
            text.line(format!("GLOBAL real *const sum = {out} + (long)id * {pitch};"));
            text.line("add_row(sum, value, from, to);");
        });
    });
}

fn random(scope: &Scope, text: &mut Text, random: &Random) {
    let blocks = random.width.div_ceil(4);
    items(text, &format!("(end - begin) * {blocks}"), |text| {
        text.line(format!("const int row = begin + item / {blocks}, block = item % {blocks};"));
        let seed = scope.place(&random.seed, "row", random.seed.offset + 3);
        let key = scope.place(&random.key, "row", random.key.offset + 2);
        let out = scope.place(&random.out, "row", random.out.offset + random.width);
        text.line(format!(
            "draw({seed}, {key}, block, {}u, {out} + 4 * block, {} - 4 * block);",
            random.stream, random.width
        ));
    });
}
