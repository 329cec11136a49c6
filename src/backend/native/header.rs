//! The C header beside an object file: everything a C program needs to run it, and no library.
//!
//! For the plan `Net_loss` with the axis `time`, the input `x` and the output `loss`:
//!
//! ```c
//! size_t size = Net_loss_workspace_size(batch, time_lengths);
//! Net_loss_context context;
//! Net_loss_bind(&context, memory, size, batch, time_lengths);
//! Net_loss_set_parameters(&context, block);      /* Net_loss_parameters tells what lies where */
//! Net_loss_set_x(&context, x);                   /* [batch][longest][width] */
//! Net_loss_run(&context);
//! Net_loss_get_loss(&context, &loss);
//! ```
//!
//! Where the plan has a tree `n`, its place is that of a forest, which all programs of the header may share:
//!
//! ```c
//! rnnc_forest n;
//! rnnc_forest_set(&n, tables, rnnc_forest_size(batch, nodes), batch, nodes, parents);  /* parents[batch][most nodes] */
//! size_t size = Net_loss_workspace_size(batch, &n);
//! ```
//!
//! `layout.h` computes rows and places as [`crate::runtime::layout`] does; what is written here are the
//! plan's tables and the names.

use std::fmt::Write;

use super::context::Slots;
use super::emit::symbol;
use crate::plan::places::zeros_needed;
use crate::plan::{AxisKind, Buffer, Element, Plan, Position, Precision, Residency, Role, RowMap};

/// The header of several plans in one object file, which runs on the processors that are described.
pub fn header(name: &str, plans: &[(&Plan, Precision)], processors: &str) -> String {
    let guard = format!("{}_H", symbol(name).to_uppercase());
    let mut text = format!(
        "/* {name}: made by rnnc. Link with the object file of the same name,\n   \
         which is for {processors}. */\n"
    );
    text.push_str(&format!("#ifndef {guard}\n#define {guard}\n\n"));
    text.push_str(include_str!("layout.h"));
    text.push_str("\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    for (plan, precision) in plans {
        text.push_str(&of_plan(plan, *precision));
    }
    text.push_str("\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    text
}

/// Tables, context and functions of one plan. Writing to a string cannot fail.
fn of_plan(plan: &Plan, precision: Precision) -> String {
    let name = symbol(&plan.name);
    let real = match precision {
        Precision::F32 => "float",
        Precision::F64 => "double",
    };
    let mut text = format!("\n/* {} */\n\n", plan.name);
    text.push_str(&tables(plan, &name, precision));
    text.push_str(&parameters(plan, &name));
    text.push_str(&context(plan, &name));
    text.push_str(&binding(plan, &name, real));
    for (number, buffer) in plan.buffers.iter().enumerate() {
        let of = match buffer.element {
            Element::Real => real,
            Element::Id => "uint32_t",
        };
        let shape = shape(plan, buffer);
        let _ = match &buffer.role {
            Role::Input(own) | Role::Setting(own) => writeln!(
                text,
                "/* {shape} */\nstatic inline void {name}_set_{}({name}_context *c, const {of} *values) \
                 {{ rnnc_copy(&c->base, {number}, (char *)(uintptr_t)values, 1); }}",
                symbol(own)
            ),
            Role::Output(own) => writeln!(
                text,
                "/* {shape} */\nstatic inline void {name}_get_{}(const {name}_context *c, {of} *values) \
                 {{ rnnc_copy(&c->base, {number}, (char *)values, 0); }}",
                symbol(own)
            ),
            _ => Ok(()),
        };
    }
    text
}

/// The constant tables that `layout.h` works on. C has no empty arrays, so each ends with a spare entry.
fn tables(plan: &Plan, name: &str, precision: Precision) -> String {
    let mut text = format!("static const rnnc_axis {name}_axes[] = {{\n");
    for axis in 0..plan.axes.len() {
        let (kind, tree) = match plan.kind(axis) {
            AxisKind::Sequence => ("RNNC_SEQUENCE", 0),
            AxisKind::Tree => ("RNNC_TREE", axis),
            AxisKind::Children(tree) => ("RNNC_CHILDREN", tree),
            AxisKind::Leaves(tree) => ("RNNC_LEAVES", tree),
        };
        let _ = writeln!(text, "    {{{kind}, {tree}}},");
    }
    let _ = writeln!(text, "    {{RNNC_SEQUENCE, 0}}}};\nstatic const rnnc_space {name}_spaces[] = {{");
    for space in &plan.spaces {
        let major = space.major.map_or(-1, |axis| axis as i64);
        let _ = writeln!(text, "    {{{}, {{{}}}, {major}}},", space.axes.len(), list(&space.axes));
    }
    let _ = writeln!(text, "    {{0, {{0}}, -1}}}};\nstatic const rnnc_map {name}_maps[] = {{");
    for map in &plan.maps {
        let (how, by) = accesses(plan, map);
        let _ =
            writeln!(text, "    {{{}, {}, {{{}}}, {{{}}}}},", map.from, map.to, how.join(", "), list(&by));
    }
    let _ = writeln!(text, "    {{0, 0, {{0}}, {{0}}}}}};\nstatic const rnnc_list {name}_lists[] = {{");
    for own in &plan.lists {
        let _ = writeln!(text, "    {{{}, {}}},", own.from, own.to);
    }
    let _ = writeln!(text, "    {{0, 0}}}};\nstatic const rnnc_buffer {name}_buffers[] = {{");
    let mut parameter = 0;
    for buffer in &plan.buffers {
        let (role, axes) = role(&buffer.role);
        let residency = match buffer.residency {
            Residency::All => "RNNC_ALL",
            Residency::Step => "RNNC_STEP",
            Residency::Scratch => "RNNC_SCRATCH",
        };
        let _ = writeln!(
            text,
            "    {{{:?}, {}, {}, {}, {residency}, {role}, {axes}, {}, {}, {parameter}}},",
            symbol(&buffer.name),
            u8::from(buffer.element == Element::Id),
            buffer.width,
            buffer.space,
            buffer.life.0,
            buffer.life.1,
        );
        if matches!(buffer.role, Role::Parameter(_)) {
            parameter += buffer.width;
        }
    }
    let _ = writeln!(text, "    {{\"\", 0, 0, 0, RNNC_ALL, RNNC_TEMPORARY, 0, 0, 0, 0}}}};");
    let _ = writeln!(
        text,
        "static const rnnc_plan {name}_plan = {{{name:?}, {}, {}, {}, {}, {}, {}, {}, \
         {name}_axes, {name}_spaces, {name}_maps, {name}_lists, {name}_buffers}};",
        precision.bytes(),
        zeros_needed(plan),
        plan.axes.len(),
        plan.spaces.len(),
        plan.maps.len(),
        plan.lists.len(),
        plan.buffers.len(),
    );
    text
}

/// How each axis of `to` is read, and by how many steps.
fn accesses(plan: &Plan, map: &RowMap) -> (Vec<String>, Vec<usize>) {
    let axes = plan.spaces.get(map.to).map_or(&[][..], |space| &space.axes);
    let (mut how, mut by) = (vec!["RNNC_HERE".to_string()], vec![0]);
    for axis in axes.iter().skip(1) {
        let at = map.at.iter().find_map(|(other, at)| (other == axis).then_some(*at));
        let (name, steps) = match at.unwrap_or(Position::Here) {
            Position::Here => ("RNNC_HERE", 0),
            Position::Back(steps) => ("RNNC_BACK", steps),
            Position::Forward(steps) => ("RNNC_FORWARD", steps),
            Position::First => ("RNNC_FIRST", 0),
            Position::Last => ("RNNC_LAST", 0),
            Position::Nth(number) => ("RNNC_NTH", number),
            Position::NthOf(number) => ("RNNC_NTH_OF", number),
            Position::Parent => ("RNNC_PARENT", 0),
            Position::Child => ("RNNC_CHILD", 0),
            Position::Edge => ("RNNC_EDGE", 0),
            Position::LeafOfNode => ("RNNC_LEAF_OF_NODE", 0),
            Position::NodeOfLeaf => ("RNNC_NODE_OF_LEAF", 0),
        };
        how.push(name.to_string());
        by.push(steps as usize);
    }
    (how, by)
}

fn role(role: &Role) -> (&'static str, u64) {
    match role {
        Role::Parameter(_) => ("RNNC_PARAMETER", 0),
        Role::Input(_) => ("RNNC_INPUT", 0),
        Role::Position(axis) => ("RNNC_POSITION", 1 << axis),
        Role::Length(axis) => ("RNNC_LENGTH", 1 << axis),
        Role::Count(axes) => ("RNNC_COUNT", axes.iter().map(|axis| 1 << axis).sum()),
        Role::RowKey => ("RNNC_ROW_KEY", 0),
        // No program that is written to a file has any, see `plan::share_lookups`.
        Role::Distinct(_) => ("RNNC_INPUT", 0),
        Role::Setting(_) => ("RNNC_SETTING", 0),
        Role::Temporary => ("RNNC_TEMPORARY", 0),
        Role::Output(_) => ("RNNC_OUTPUT", 0),
    }
}

/// Names, places and shapes in the parameter block.
fn parameters(plan: &Plan, name: &str) -> String {
    let mut text = format!(
        "/* What lies where in the parameter block, in elements. */\n\
         static const struct {{ const char *name; size_t offset, elements; const char *shape; }} {name}_parameters[] = {{\n"
    );
    let mut offset = 0;
    for buffer in &plan.buffers {
        if let Role::Parameter(own) = &buffer.role {
            let _ =
                writeln!(text, "    {{{own:?}, {offset}, {}, \"[{}]\"}},", buffer.width, list(&buffer.shape));
            offset += buffer.width;
        }
    }
    let _ = writeln!(
        text,
        "    {{\"\", {offset}, 0, \"\"}}}};\nenum {{ {name}_parameter_elements = {offset} }};"
    );
    text
}

/// The structure that holds a batch's numbers.
fn context(plan: &Plan, name: &str) -> String {
    let (buffers, spaces, axes) =
        (plan.buffers.len().max(1), plan.spaces.len().max(1), plan.axes.len().max(1));
    let slots = Slots::new(plan).len();
    format!(
        "/* One batch; it points into itself, so it must not be moved while bound. */\n\
         typedef struct {{\n    rnnc_context base;\n    uint64_t slot[{slots}];\n    \
         size_t start[{buffers}], size[{buffers}], rows[{spaces}], largest[{spaces}], longest[{axes}];\n    \
         uint32_t *offset[{spaces}], *order[{axes}], *rank[{axes}];\n    \
         size_t *before[{spaces}], *length[{axes}], *begin[{spaces}];\n    uint32_t *place[{spaces}];\n    \
         const rnnc_forest *forest[{axes}];\n}} {name}_context;\n\n\
         static inline void {name}_begin({name}_context *c) {{\n    memset(c, 0, sizeof *c);\n    \
         c->base.plan = &{name}_plan;\n    c->base.slot = c->slot;\n    c->base.start = c->start;\n    \
         c->base.size = c->size;\n    c->base.rows = c->rows;\n    c->base.largest = c->largest;\n    \
         c->base.longest = c->longest;\n    c->base.offset = c->offset;\n    c->base.order = c->order;\n    \
         c->base.rank = c->rank;\n    c->base.before = c->before;\n    c->base.length = c->length;\n    \
         c->base.begin = c->begin;\n    c->base.place = c->place;\n    c->base.forest = c->forest;\n}}\n"
    )
}

/// Sizes, binding, parameters and the run.
fn binding(plan: &Plan, name: &str, real: &str) -> String {
    // Of children and leaves the trees tell.
    let mut arguments = String::new();
    let mut along = "{NULL, NULL}".to_string();
    for (axis, own) in plan.axes.iter().enumerate().skip(1) {
        let own = symbol(own);
        let (argument, entry) = match plan.kind(axis) {
            AxisKind::Sequence => {
                (format!(", const size_t *{own}_lengths"), format!("{{{own}_lengths, NULL}}"))
            }
            AxisKind::Tree => (format!(", const rnnc_forest *{own}"), format!("{{NULL, {own}}}")),
            AxisKind::Children(_) | AxisKind::Leaves(_) => (String::new(), "{NULL, NULL}".to_string()),
        };
        arguments += &argument;
        along += &format!(", {entry}");
    }
    let cells = Slots::new(plan).cells();
    format!(
        "extern void {name}(const uint64_t *context, uint64_t worker, uint64_t workers);\n\n\
         /* Bytes of workspace for a batch; 0 if it does not fit in memory. */\n\
         static inline size_t {name}_workspace_size(size_t batch{arguments}) {{\n    \
         const rnnc_along along[] = {{{along}}};\n    {name}_context c;\n    {name}_begin(&c);\n    \
         return rnnc_workspace_size(&c.base, batch, along);\n}}\n\
         /* Lays a batch out in the caller's memory; 0, or -1 if it is too small. */\n\
         static inline int {name}_bind({name}_context *c, void *memory, size_t bytes, size_t batch{arguments}) {{\n    \
         const rnnc_along along[] = {{{along}}};\n    {name}_begin(c);\n    \
         return rnnc_bind(&c->base, memory, bytes, batch, along);\n}}\n\
         static inline void {name}_set_parameters({name}_context *c, const {real} *block) {{ \
         rnnc_set_parameters(&c->base, block); }}\n\
         static inline void {name}_run(const {name}_context *c) {{ {name}(c->slot, 0, 1); }}\n\
         /* The same by several threads at once, each with its number: all of them run this. `cells` are 8 words\n\
            a worker, zero before the first run. */\n\
         static inline void {name}_run_together({name}_context *c, uint64_t *cells, uint64_t worker, \
         uint64_t workers) {{\n    c->slot[{cells}] = (uint64_t)(uintptr_t)cells;\n    {name}(c->slot, worker, workers);\n}}\n"
    )
}

/// The caller's array for a buffer, for the comment above its function.
fn shape(plan: &Plan, buffer: &Buffer) -> String {
    let axes = plan.spaces.get(buffer.space).map_or(&[][..], |space| &space.axes);
    let mut text: String = axes
        .iter()
        .map(|&axis| match axis {
            0 => "[batch]".to_string(),
            _ => format!("[longest {}]", plan.axes[axis]),
        })
        .collect();
    let _ = write!(text, "[{}]", buffer.width);
    text
}

fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    match numbers.is_empty() {
        true => "0".to_string(),
        false => numbers.join(", "),
    }
}
