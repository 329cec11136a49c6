//! The plan in words: regions, kernels with the equations they compute, buffers with their rows.

use std::fmt::Write as _;

use super::kernel::{AxisKind, Kernel, Plan, Region, Residency, Role, Steps, Work};

/// A listing of a plan.
pub fn print(plan: &Plan) -> String {
    let mut text = format!("plan {}\n", plan.name);
    for (number, region) in plan.regions.iter().enumerate() {
        match region {
            Region::Flat(kernels) => {
                let _ = writeln!(text, "\nregion {number}, flat");
                kernels.iter().for_each(|kernel| self::kernel(&mut text, plan, kernel));
            }
            Region::Loop { axis, backward, kernels } => {
                let direction = if *backward { "last to first" } else { "first to last" };
                let _ = writeln!(text, "\nregion {number}, loop over {}, {direction}", plan.axes[*axis]);
                kernels.iter().for_each(|kernel| self::kernel(&mut text, plan, kernel));
            }
        }
    }
    let _ = writeln!(text, "\nbuffers");
    for buffer in &plan.buffers {
        let rows = match buffer.residency {
            Residency::All => space(plan, buffer.space),
            Residency::Step => format!("a step of {}", space(plan, buffer.space)),
            Residency::Scratch => "one row".into(),
        };
        let role = match &buffer.role {
            Role::Temporary => String::new(),
            other => format!(", {other:?}"),
        };
        let _ = writeln!(
            text,
            "  {}: {:?} x {} {:?}{role}, regions {} to {}",
            buffer.name,
            buffer.shape,
            rows,
            buffer.element,
            buffer.life.0,
            if buffer.life.1 == usize::MAX { plan.regions.len() } else { buffer.life.1 }
        );
    }
    text
}

fn space(plan: &Plan, id: usize) -> String {
    let names: Vec<&str> = plan.spaces[id].axes.iter().map(|&axis| plan.axes[axis].as_str()).collect();
    if names.is_empty() { "one".into() } else { names.join(" x ") }
}

fn kernel(text: &mut String, plan: &Plan, kernel: &Kernel) {
    let _ = writeln!(text, "  {}", label(plan, kernel));
    for equation in &kernel.equations {
        let _ = writeln!(text, "    {equation}");
    }
}

/// A kernel's kind and what it works on, in a line.
pub fn label(plan: &Plan, kernel: &Kernel) -> String {
    let label = work(plan, &kernel.work);
    let tree = kernel.work.space().and_then(|space| plan.spaces[space].major);
    match (kernel.steps, tree.map(|axis| plan.kind(axis))) {
        (Steps::All, _) => label,
        (Steps::First, Some(AxisKind::Tree)) => format!("{label}, leaves"),
        (Steps::Rest, Some(AxisKind::Tree)) => format!("{label}, above leaves"),
        (Steps::First, _) => format!("{label}, first step"),
        (Steps::Rest, _) => format!("{label}, behind the first step"),
    }
}

fn work(plan: &Plan, work: &Work) -> String {
    let name = |buffer: usize| plan.buffers[buffer].name.as_str();
    match work {
        Work::Rows(rows) => {
            let dims: Vec<String> = rows.phases.iter().map(|phase| format!("{:?}", phase.dims)).collect();
            format!("rows of {}: phases {}", space(plan, rows.space), dims.join(" "))
        }
        Work::Gemm(gemm) => format!(
            "product {} = {} @ {} ({} x {})",
            name(gemm.out.at.buffer),
            name(gemm.a.at.buffer),
            name(gemm.packed),
            gemm.k,
            gemm.n
        ),
        Work::Pack(pack) if (pack.k, pack.n) != (pack.whole[0], pack.whole[1]) => {
            let [row, column] = pack.at;
            let (rows, columns) = (row + pack.k, column + pack.n);
            let source = name(pack.source.at.buffer);
            format!("pack {}[{row}:{rows}, {column}:{columns}] of {source}", name(pack.to))
        }
        Work::Pack(pack) => format!("pack {} of {}", name(pack.to), name(pack.source.at.buffer)),
        Work::Outer(outer) => format!(
            "product over rows {} = {}.T @ {} ({} x {})",
            name(outer.out.at.buffer),
            name(outer.a.at.buffer),
            name(outer.b.at.buffer),
            outer.m,
            outer.n
        ),
        Work::Combine(combine) => format!(
            "combine {} = {:?} of {}",
            name(combine.out.at.buffer),
            combine.how,
            name(combine.value.at.buffer)
        ),
        Work::Scatter(scatter) => format!(
            "scatter {} += {} by {}",
            name(scatter.out.at.buffer),
            name(scatter.value.at.buffer),
            name(scatter.id.at.buffer)
        ),
        Work::Random(random) => format!("random {}", name(random.out.at.buffer)),
    }
}
