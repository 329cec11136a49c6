//! A compiled gradient program: the loss and the gradient of all parameters on a batch.
//!
//! ```text
//! groups of the batch, on all threads ─▶ losses, gradients of each ─▶ one loss, one flat gradient
//! ```
//!
//! Losses and gradients are added over the batch's groups in their order, so that their bits depend on the
//! batch alone. What becomes of the gradient is the caller's business.

use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;

use super::batch::{Batch, BatchError, Feed};
use super::compile::{CompileError, Pipeline};
use super::evaluate::{parameter_ranges, slices};
use crate::ir::{Graph, OutputKind};
use crate::runtime::parameters::Parameters;

/// The program and the memory of its runs.
pub(super) struct GradientProgram {
    batch: Batch<f32>,
    /// Parameters in the program's order.
    ranges: Vec<Range<usize>>,
    losses: Vec<String>,
    /// Outputs that parameters become after a step, and which these are.
    updates: Vec<(String, usize)>,
    /// Outputs and where they go in the flat gradient.
    places: Vec<(String, Range<usize>)>,
    /// Laid out as the parameters are.
    gradient: Vec<f32>,
}

/// What a parameter becomes that is not learned.
pub(super) struct Update {
    /// Which of all parameters it is.
    pub index: usize,
    /// Its values.
    pub values: Vec<f32>,
}

impl GradientProgram {
    /// Compiles `graph`, which has gradients.
    ///
    /// # Errors
    /// It cannot be compiled.
    pub fn new(
        pipeline: &mut Pipeline,
        graph: &Graph,
        parameters: &Parameters,
        pool: &Arc<ThreadPool>,
    ) -> Result<GradientProgram, CompileError> {
        let name = format!("{}_train", graph.name);
        let kinds = [OutputKind::Loss, OutputKind::Gradient, OutputKind::Carry, OutputKind::Update];
        let places: Vec<(String, Range<usize>)> = graph
            .outputs_of(OutputKind::Gradient)
            .filter_map(|output| {
                let range = parameters.range(parameters.index(&output.name)?);
                Some((format!("gradient:{}", output.name), range))
            })
            .collect();
        let updates = graph
            .outputs_of(OutputKind::Update)
            .filter_map(|output| Some((format!("update:{}", output.name), parameters.index(&output.name)?)));
        let updates: Vec<(String, usize)> = updates.collect();
        let added = places.iter().map(|(name, _)| name.clone()).collect();
        let batch = pipeline.batch_adding::<f32>(graph, &kinds, &name, pool, Some(added))?;
        let losses = graph.outputs_of(OutputKind::Loss).map(|output| format!("loss:{}", output.name));
        Ok(GradientProgram {
            ranges: parameter_ranges(&batch, parameters),
            losses: losses.collect(),
            updates,
            batch,
            places,
            gradient: vec![0.0; parameters.values().len()],
        })
    }

    /// The batch last run.
    pub fn batch(&self) -> &Batch<f32> {
        &self.batch
    }

    /// The batch, to lay out.
    pub fn batch_mut(&mut self) -> &mut Batch<f32> {
        &mut self.batch
    }

    /// Names of the outputs that are losses.
    pub fn losses(&self) -> &[String] {
        &self.losses
    }

    /// What parameters become that are not learned, as the batch last run says.
    ///
    /// # Errors
    /// The device fails.
    pub fn updates(&self) -> Result<Vec<Update>, BatchError> {
        let value = |(output, index): &(String, usize)| {
            Ok(Update { index: *index, values: self.batch.values(output)? })
        };
        self.updates.iter().map(value).collect()
    }

    /// The gradient last computed, laid out as the parameters are; zero for what is not trained.
    pub fn gradient(&mut self) -> &mut [f32] {
        // Whoever has it may write to it.
        self.batch.forget_sums();
        &mut self.gradient
    }

    /// Computes loss and gradient on the batch as it is laid out; gives the loss.
    ///
    /// # Errors
    /// Data that do not fit.
    pub fn run(&mut self, parameters: &Parameters, feeds: &[(&str, Feed<f32>)]) -> Result<f64, BatchError> {
        let parameters = slices(parameters, &self.ranges);
        self.batch.run_adding(feeds, &parameters, &self.places, &mut self.gradient)?;
        let mut loss = 0.0;
        for name in &self.losses {
            loss += self.batch.number(name)?;
        }
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Mode;
    use crate::driver::batch::threads;
    use crate::driver::session::{Model, parameter_specs};
    use crate::runtime::layout::Lengths;

    const MODEL: &str = "model M(I = 150, H = 130) {
      input x: [I] over t
      h = RNN(I, H)(x)
      loss squares = sum(sum(h^2) over t)
    }";

    /// The flat gradient on so many threads, and what the program's outputs add up to.
    fn gradient(count: usize) -> (Vec<f32>, Vec<f32>) {
        let mut pipeline = Pipeline::default();
        let checked = pipeline.check(&Model::new("m.rnn", MODEL), Mode::Train).unwrap();
        let graph = pipeline.trained(&checked.graph).unwrap();
        let parameters = Parameters::initialize(parameter_specs(&graph), 1).unwrap();
        let pool = threads(count).unwrap();
        let mut program = GradientProgram::new(&mut pipeline, &graph, &parameters, &pool).unwrap();
        program.batch_mut().lay_out(&Lengths::uniform(40, &[2])).unwrap();
        let x: Vec<f32> = (0..40 * 2 * 150).map(|i| (i as f32 * 0.7).sin()).collect();
        let feeds = [("x", Feed::Real(&x[..]))];
        program.run(&parameters, &feeds).unwrap();
        // The same outputs from groups that share no memory.
        let mut apart = Batch::new(Arc::clone(program.batch.program().unwrap()), Arc::clone(&pool));
        apart.lay_out(&Lengths::uniform(40, &[2])).unwrap();
        apart.run(&feeds, &slices(&parameters, &program.ranges)).unwrap();
        let mut added = vec![0.0; parameters.values().len()];
        for (name, range) in &program.places {
            added[range.clone()].copy_from_slice(&apart.values(name).unwrap());
        }
        (program.gradient().to_vec(), added)
    }

    /// A model over trees, and whether the gradients of its words' rows are left where they are found.
    const TREES: [(&str, bool); 2] =
        [("TreeLSTM(I, H)(embed[word][n])", false), ("Words(I, H)(embed[word])", true)];

    fn model_of_trees(words: &str) -> String {
        format!(
            "cell Words(I, H) over tree n {{
               input x: [I] over n.leaf
               state h: [H]
               param W: [H, I], U: [H, 2 * H]
               word = tanh(W @ x)
               h[n] = where(length(child) == 0, word[n], tanh(U @ [h[left], h[right]]))
             }}
             model M(V = 5000, I = 40, H = 70, C = 5) {{
               input word: id(V) over n.leaf
               input label: id(C) over tree n
               param embed: [V, I]
               h = {words}
               label ~ categorical(Dense(H, C)(h))
             }}"
        )
    }

    /// Trees as parents, and a word and a label for each node.
    fn forest(trees: usize, most: usize, seed: u64) -> (Lengths, Vec<u32>, Vec<u32>) {
        let mut rng = crate::testing::Rng::new(seed);
        let form = crate::testing::Form::Random(2);
        let nodes: Vec<usize> = (0..trees).map(|_| rng.between(1, most)).collect();
        let trees: Vec<_> =
            nodes.iter().map(|&nodes| Arc::new(crate::testing::tree(&mut rng, form, nodes))).collect();
        let longest = nodes.iter().copied().max().unwrap();
        let leaves = trees.iter().map(|tree| tree.leaves().len()).max().unwrap();
        let words = (0..trees.len() * leaves).map(|_| rng.below(40) as u32).collect();
        let labels = (0..trees.len() * longest).map(|_| rng.below(5) as u32).collect();
        let axes = vec![Vec::new()];
        (Lengths { examples: trees.len(), axes, trees: [(2, trees)].into() }, words, labels)
    }

    #[test]
    fn trees_give_the_same_bits_on_any_number_of_threads_and_after_any_batch() {
        for (words, listed) in TREES {
            same_bits(&model_of_trees(words), listed);
        }
    }

    fn same_bits(source: &str, listed: bool) {
        let mut pipeline = Pipeline::default();
        let checked = pipeline.check(&Model::new("m.rnn", source), Mode::Train).unwrap();
        let graph = pipeline.trained(&checked.graph).unwrap();
        let tree = graph.axes.iter().position(|axis| axis.name == "n").unwrap();
        let parameters = Parameters::initialize(parameter_specs(&graph), 1).unwrap();
        let program = |count: usize| {
            let pool = threads(count).unwrap();
            GradientProgram::new(&mut Pipeline::default(), &graph, &parameters, &pool).unwrap()
        };
        let run = |program: &mut GradientProgram,
                   (lengths, words, labels): &(Lengths, Vec<u32>, Vec<u32>)| {
            let trees = lengths.trees.values().next().unwrap().clone();
            let lengths = Lengths { trees: [(tree, trees)].into(), ..lengths.clone() };
            program.batch_mut().lay_out(&lengths).unwrap();
            program.run(&parameters, &[("word", Feed::Ids(words)), ("label", Feed::Ids(labels))]).unwrap()
        };
        // One group, two of them, more than threads, a single tree.
        let batches =
            [forest(3, 30, 1), forest(60, 50, 2), forest(260, 50, 5), forest(1, 40, 3), forest(1, 3, 4)];
        let mut reused = [program(2), program(3)];
        let plan = reused[0].batch.plan();
        assert!(plan.sparse.len() == 1 && plan.sparse[0].listed.is_some() == listed);
        let table = parameters.range(parameters.index("embed").unwrap());
        for batch in &batches {
            let mut fresh = program(1);
            let loss = run(&mut fresh, batch);
            let wanted = fresh.gradient().to_vec();
            assert!(wanted.iter().all(|value| value.is_finite()) && wanted.iter().any(|&value| value != 0.0));
            // Rows of words where they are found, against the whole table.
            let kinds = [OutputKind::Gradient];
            let mut pipeline = Pipeline::default();
            let pool = threads(1).unwrap();
            let mut whole = pipeline.batch::<f32>(&graph, &kinds, "whole", &pool).unwrap();
            whole.lay_out(fresh.batch.lengths()).unwrap();
            let ranges = parameter_ranges(&whole, &parameters);
            let feeds = [("word", Feed::Ids(&batch.1[..])), ("label", Feed::Ids(&batch.2[..]))];
            whole.run(&feeds, &slices(&parameters, &ranges)).unwrap();
            let dense = whole.values("gradient:embed").unwrap();
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs().max(1e-3);
            assert!(wanted[table.clone()].iter().zip(&dense).all(near));
            for program in &mut reused {
                assert_eq!(run(program, batch), loss);
                // As the last run left it, and after somebody wrote to it.
                assert!(program.gradient == wanted);
                program.gradient().fill(1.0);
                assert_eq!(run(program, batch), loss);
                assert!(program.gradient == wanted);
            }
        }
    }

    #[test]
    fn gradients_of_groups_add_up_to_the_same_bits_on_any_number_of_threads() {
        let (one, added) = gradient(1);
        // Longer than what one thread adds up at once, and not a multiple of it.
        assert!(one.len() > 1 << 15 && one.iter().all(|&value| value != 0.0));
        assert!(one.iter().zip(&added).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1e-3)));
        assert_eq!(gradient(3).0, one);
    }

    #[test]
    fn workers_on_one_group_give_the_bits_of_one() {
        for hidden in [64, 150] {
            workers_agree(hidden);
        }
    }

    fn workers_agree(hidden: usize) {
        let source = &format!(
            "model M(I = 70, H = {hidden}) {{
          input x: [I] over t
          h = LSTM(I, H)(x)
          g = GRU(H, H)(h, backward)
          k = LayerNormLSTM(H, H)(g)
          loss squares = sum(sum(k^2) over t)
        }}"
        );
        let gradient = |count: usize, examples: usize| {
            let mut pipeline = Pipeline::default();
            let checked = pipeline.check(&Model::new("m.rnn", source), Mode::Train).unwrap();
            let graph = pipeline.trained(&checked.graph).unwrap();
            let parameters = Parameters::initialize(parameter_specs(&graph), 1).unwrap();
            let pool = threads(count).unwrap();
            let mut program = GradientProgram::new(&mut pipeline, &graph, &parameters, &pool).unwrap();
            program.batch_mut().lay_out(&Lengths::uniform(examples, &[9])).unwrap();
            let x: Vec<f32> = (0..examples * 9 * 70).map(|i| (i as f32 * 0.7).sin()).collect();
            // More than once: workers go on counting how often they have met.
            let losses: Vec<f64> =
                (0..3).map(|_| program.run(&parameters, &[("x", Feed::Real(&x))]).unwrap()).collect();
            (losses, program.gradient().to_vec())
        };
        for examples in [1, 3, 8] {
            let one = gradient(1, examples);
            assert!(one.1.iter().all(|value| value.is_finite()));
            for count in [2, 3, 5] {
                assert!(gradient(count, examples) == one, "{examples} examples on {count} threads");
            }
        }
    }

    #[test]
    fn an_output_of_another_size_is_refused() {
        let mut pipeline = Pipeline::default();
        let checked = pipeline.check(&Model::new("m.rnn", MODEL), Mode::Train).unwrap();
        let graph = pipeline.trained(&checked.graph).unwrap();
        let parameters = Parameters::initialize(parameter_specs(&graph), 1).unwrap();
        let mut program =
            GradientProgram::new(&mut pipeline, &graph, &parameters, &threads(1).unwrap()).unwrap();
        program.batch_mut().lay_out(&Lengths::uniform(1, &[2])).unwrap();
        for wrong in [129, 131] {
            let sums = [("gradient:h.b_h".to_string(), 0..wrong)];
            let x = [0.0; 300];
            let mut total = vec![0.0; wrong];
            let error = program
                .batch
                .run_adding(
                    &[("x", Feed::Real(&x))],
                    &slices(&parameters, &program.ranges),
                    &sums,
                    &mut total,
                )
                .unwrap_err();
            assert!(error.to_string().contains("130"), "{error}");
        }
    }
}
