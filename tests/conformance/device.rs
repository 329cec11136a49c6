//! Feeding programs on a device from the interpreter's feeds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rnnc::eval::Feeds;
use rnnc::ir::Graph;
use rnnc::plan::Role;
use rnnc::runtime::opencl;
use rnnc::runtime::program::Real;

use super::support::{Padded, inputs, lengths, parameters};

/// Runs a program on a device, all examples of the feeds in so many groups, and returns its outputs likewise.
pub fn run_on_device<R: Real>(
    graph: &Graph,
    program: &Arc<opencl::Program<R>>,
    feeds: &Feeds,
    groups: usize,
) -> BTreeMap<String, Vec<f64>> {
    let plan = program.plan();
    let groups = if plan.splittable { groups.min(feeds.examples).max(1) } else { 1 };
    let bound = |group: usize| feeds.examples * group / groups;
    let parts: Vec<Range<usize>> = (0..groups).map(|group| bound(group)..bound(group + 1)).collect();
    let mut instance = opencl::Instance::new(program).unwrap();
    instance.lay_out(&lengths(graph, feeds), &parts).unwrap();
    let roles: Vec<Role> = plan.buffers.iter().map(|buffer| buffer.role.clone()).collect();
    let longest = instance.layouts()[0].longest.clone();
    for (name, padded) in inputs::<R>(graph, feeds, &roles, &longest) {
        for (group, part) in parts.iter().enumerate() {
            let share = |length: usize| {
                let each = length / feeds.examples.max(1);
                part.start * each..part.end * each
            };
            match &padded {
                Padded::Real(all) => instance.set_input(group, &name, &all[share(all.len())]).unwrap(),
                Padded::Ids(all) => instance.set_input_ids(group, &name, &all[share(all.len())]).unwrap(),
            }
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
    let names = program.parameters().iter().map(|&id| match &plan.buffers[id].role {
        Role::Parameter(name) => name.as_str(),
        _ => "",
    });
    let parameters: Vec<Vec<R>> = parameters(names, feeds);
    let borrowed: Vec<&[R]> = parameters.iter().map(Vec::as_slice).collect();
    let results = |instance: &opencl::Instance<R>| {
        let mut outputs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for buffer in &plan.buffers {
            let Role::Output(name) = &buffer.role else { continue };
            let single = plan.spaces[buffer.space].axes.is_empty();
            let mut all: Vec<f64> = Vec::new();
            for group in 0..groups {
                let own: Vec<f64> = match buffer.element {
                    rnnc::plan::Element::Real => {
                        instance.output(group, name).unwrap().into_iter().map(R::to_f64).collect()
                    }
                    rnnc::plan::Element::Id => {
                        let number = |id| if id == u32::MAX { -1.0 } else { f64::from(id) };
                        instance.output_ids(group, name).unwrap().into_iter().map(number).collect()
                    }
                };
                match single && group > 0 {
                    true => all.iter_mut().zip(own).for_each(|(sum, value)| *sum += value),
                    false => all.extend(own),
                }
            }
            outputs.insert(name.clone(), all);
        }
        outputs
    };
    // Twice: nothing of a run may leak into the next.
    instance.run(&borrowed).unwrap();
    let first = results(&instance);
    instance.run(&borrowed).unwrap();
    let second = results(&instance);
    for (name, values) in &first {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert!(bits(values) == bits(&second[name]), "`{name}` differs in the second run");
    }
    second
}
