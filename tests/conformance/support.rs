//! Feeding native programs from the interpreter's feeds.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rayon::{ThreadPool, ThreadPoolBuilder};
use rnnc::eval::{Feeds, InputData};
use rnnc::ir::{AxisId, Element, Graph, OutputKind};
use rnnc::plan::Role;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program, Real};
use rnnc::testing::coordinates;

/// Lengths and trees of the feeds, by axis.
pub fn lengths(graph: &Graph, feeds: &Feeds) -> Lengths {
    let mut lengths = Lengths { examples: feeds.examples, axes: vec![Vec::new()], ..Lengths::default() };
    for (number, axis) in graph.axes.iter().enumerate().skip(1) {
        lengths.axes.push(feeds.lengths.get(&axis.name).cloned().unwrap_or_else(|| vec![0; feeds.examples]));
        if let Some(trees) = feeds.trees.get(&axis.name) {
            lengths.trees.insert(number, trees.iter().cloned().map(Arc::new).collect());
        }
    }
    lengths
}

/// An input padded to the longest example along each axis.
pub enum Padded<R> {
    Real(Vec<R>),
    Ids(Vec<u32>),
}

/// The inputs that a program has, padded; `longest` by axis.
pub fn inputs<R: Real>(
    graph: &Graph,
    feeds: &Feeds,
    roles: &[Role],
    longest: &[usize],
) -> Vec<(String, Padded<R>)> {
    let mut found = Vec::new();
    for input in &graph.inputs {
        if !roles.contains(&Role::Input(input.name.clone())) {
            continue;
        }
        let steps: Vec<AxisId> = input.ty.axes.iter().skip(1).collect();
        let longest: Vec<usize> = steps.iter().map(|axis| longest[usize::from(axis.0)]).collect();
        let per_example: usize = longest.iter().product();
        let width = input.ty.size();
        let mut real = vec![R::from_f64(0.0); feeds.examples * per_example * width];
        let mut ids = vec![u32::MAX; feeds.examples * per_example];
        for example in 0..feeds.examples {
            let positions = coordinates(graph, feeds, input.ty.axes, example);
            for (number, position) in positions.into_iter().enumerate() {
                let flat = position.iter().zip(&longest).fold(0, |flat, (at, size)| flat * size + at);
                let row = example * per_example + flat;
                match &feeds.inputs[&input.name] {
                    InputData::Real(values) => {
                        for column in 0..width {
                            real[row * width + column] =
                                R::from_f64(values[example][number * width + column]);
                        }
                    }
                    InputData::Ids(values) => ids[row] = values[example][number].unwrap_or(u32::MAX),
                }
            }
        }
        let padded = match input.ty.element {
            Element::Real => Padded::Real(real),
            Element::Id(_) => Padded::Ids(ids),
        };
        found.push((input.name.clone(), padded));
    }
    found
}

/// Parameters by name as a program takes them.
pub fn parameters<'n, R: Real>(names: impl Iterator<Item = &'n str>, feeds: &Feeds) -> Vec<Vec<R>> {
    names.map(|name| feeds.params[name].iter().map(|&value| R::from_f64(value)).collect()).collect()
}

/// Workers on a group.
const WORKERS: usize = 3;

/// Runs a native program and returns its outputs by name, ids as numbers (none: -1).
pub fn run<R: Real>(graph: &Graph, program: &Arc<Program<R>>, feeds: &Feeds) -> BTreeMap<String, Vec<f64>> {
    run_by(graph, program, feeds, false)
}

/// The same, also by several workers, whose results have the same bits.
pub fn run_by<R: Real>(
    graph: &Graph,
    program: &Arc<Program<R>>,
    feeds: &Feeds,
    workers: bool,
) -> BTreeMap<String, Vec<f64>> {
    let mut instance = Instance::new(program, &lengths(graph, feeds), 0..feeds.examples).unwrap();
    let roles: Vec<Role> = program.plan().buffers.iter().map(|buffer| buffer.role.clone()).collect();
    for (name, padded) in inputs::<R>(graph, feeds, &roles, &instance.layout().longest.clone()) {
        match padded {
            Padded::Real(values) => instance.set_input(&name, &values).unwrap(),
            Padded::Ids(ids) => instance.set_input_ids(&name, &ids).unwrap(),
        }
    }
    for role in &roles {
        match role {
            Role::Setting(name) if name == "random" => {
                let seed = [feeds.seed as u32, (feeds.seed >> 32) as u32, feeds.step];
                instance.set_setting_ids(name, &seed).unwrap();
            }
            Role::Setting(name) if name != "none" => {
                instance.set_setting(name, &[R::from_f64(feeds.settings[name])]).unwrap();
            }
            _ => {}
        }
    }
    let parameters: Vec<Vec<R>> = parameters(program.parameters().map(|(name, _, _)| name), feeds);
    let borrowed: Vec<&[R]> = parameters.iter().map(Vec::as_slice).collect();
    // Twice: nothing of a run may leak into the next.
    instance.run(&borrowed).unwrap();
    let first = outputs(program, &instance);
    instance.run(&borrowed).unwrap();
    let second = outputs(program, &instance);
    same(&first, &second, "in the second run");
    if workers {
        static POOL: OnceLock<ThreadPool> = OnceLock::new();
        let pool = POOL.get_or_init(|| ThreadPoolBuilder::new().num_threads(WORKERS).build().unwrap());
        let groups = std::slice::from_mut(&mut instance);
        Instance::run_together(groups, &borrowed, &mut [], None, pool, WORKERS).unwrap();
        same(&outputs(program, &instance), &second, "for several workers");
    }
    second
}

/// Two runs with the same bits.
fn same(a: &BTreeMap<String, Vec<f64>>, b: &BTreeMap<String, Vec<f64>>, when: &str) {
    for (name, values) in a {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(bits(values) == bits(&b[name]), "`{name}` differs {when}");
    }
}

fn outputs<R: Real>(program: &Program<R>, instance: &Instance<R>) -> BTreeMap<String, Vec<f64>> {
    let mut outputs = BTreeMap::new();
    for buffer in &program.plan().buffers {
        let Role::Output(name) = &buffer.role else { continue };
        let values = match buffer.element {
            rnnc::plan::Element::Real => instance.output(name).unwrap().into_iter().map(R::to_f64).collect(),
            rnnc::plan::Element::Id => instance
                .output_ids(name)
                .unwrap()
                .into_iter()
                .map(|id| if id == u32::MAX { -1.0 } else { f64::from(id) })
                .collect(),
        };
        outputs.insert(name.clone(), values);
    }
    outputs
}

/// The name of an output in a plan.
pub fn plan_name(kind: OutputKind, name: &str) -> String {
    let word = match kind {
        OutputKind::Value => "value",
        OutputKind::Loss => "loss",
        OutputKind::Metric => "metric",
        OutputKind::Gradient => "gradient",
        OutputKind::Carry => "carry",
        OutputKind::Update => "update",
    };
    format!("{word}:{name}")
}

/// The largest difference relative to the largest value; NaN equals NaN, infinities themselves.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().filter(|x| x.is_finite()).fold(1e-3, |scale: f64, x| scale.max(x.abs()));
    a.iter().zip(b).fold(0.0, |worst: f64, (x, y)| {
        let same = x == y || (x.is_nan() && y.is_nan());
        let difference = if same { 0.0 } else { (x - y).abs() / scale };
        if difference.is_nan() { f64::INFINITY } else { worst.max(difference) }
    })
}
