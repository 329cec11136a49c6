//! The commands: one enum, one table with their words, and the parser of a line.
//!
//! `:grad M wrt W_h` is `Command::Grad("M wrt W_h")`: what follows the word is each family's own business.

use super::{Failure, definitions::nearest};

/// A command with what follows its word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Command {
    Help(Option<String>),
    Load(String),
    Reload,
    Save(String),
    Set(String),
    Seed(String),
    Defs,
    Forget(String),
    Type(String),
    All(String),
    Summary(String),
    Show(String),
    Grad(String),
    Why(String),
    Data(String),
    Trace(String),
    Step(String),
    Back(String),
    Continue,
    Watch(String),
    Break(String),
    Nan(String),
    Flow(String),
    Heat(String),
    Unroll(String),
    Graph(String),
    Plan(String),
    Clif(String),
    Asm(String),
    OpenCl(String),
    Passes(String),
    Cost(String),
    Check(String),
    Train(String),
    Weights(String),
}

/// A command in the help.
pub(super) struct Entry {
    /// Its word.
    pub word: &'static str,
    /// What follows it.
    pub usage: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// More, with an example.
    pub more: &'static str,
    make: fn(String) -> Command,
}

macro_rules! entry {
    ($word:literal, $usage:literal, $about:literal, $make:expr, $more:literal) => {
        Entry { word: $word, usage: $usage, about: $about, more: $more, make: $make }
    };
}

/// All of them, in the order of the help.
pub(super) const COMMANDS: &[Entry] = &[
    entry!(
        "help",
        "[COMMAND | literals | data]",
        "what there is, or more about one thing",
        |rest| Command::Help(Some(rest).filter(|rest| !rest.is_empty())),
        "Example:\n  :help grad"
    ),
    entry!(
        "load",
        "FILE …",
        "read definitions from files",
        Command::Load,
        "What the files define is added to the session; what it defined under the same names is replaced.\n\nExample:\n  :load examples/elman.rnn"
    ),
    entry!(
        "reload",
        "",
        "read the loaded files again",
        |_| Command::Reload,
        "Definitions of files that were changed outside are replaced.\n\nExample:\n  :reload"
    ),
    entry!(
        "save",
        "FILE",
        "write all definitions to a file",
        Command::Save,
        "Values are not written: a file holds cells, models and functions.\n\nExample:\n  :save mine.rnn"
    ),
    entry!(
        "set",
        "[H = 4, …]",
        "bind dimensions of models, or list what is bound",
        Command::Set,
        "A bound dimension holds for every model that has it, and is a name in expressions.\n`:set H = default` undoes it.\n\nExample:\n  :set H = 4, V = 10"
    ),
    entry!(
        "seed",
        "N",
        "the seed of everything random",
        Command::Seed,
        "Random weights, examples and draws follow from it alone.\n\nExample:\n  :seed 7"
    ),
    entry!("defs", "", "what the session holds", |_| Command::Defs, "Example:\n  :defs"),
    entry!("forget", "NAME", "drop a definition or a value", Command::Forget, "Example:\n  :forget x"),
    entry!(
        "type",
        "EXPRESSION",
        "shape and axes of a value",
        Command::Type,
        "Nothing is computed.\n\nExample:\n  :type LSTM(3, 4)(seq([1, 2, 3] over t))"
    ),
    entry!(
        "all",
        "EXPRESSION",
        "a value in full, however long",
        Command::All,
        "Values of more than a screen are summarised: shape, range, mean, share of zeros, NaN.\n\nExample:\n  :all normal([40, 40])"
    ),
    entry!(
        "summary",
        "[M]",
        "a model's parameters by layer",
        Command::Summary,
        "Example:\n  :summary Sentiment"
    ),
    entry!(
        "show",
        "NAME",
        "the equations of a model or cell as checked, or a definition",
        Command::Show,
        "A cell is shown inlined, with dimensions as they are written.\n\nExample:\n  :show LSTM"
    ),
    entry!(
        "grad",
        "[:grad | :raw] [M] [wrt NAME] [program | as NAME]",
        "the derived equations of the gradient",
        Command::Grad,
        "The adjoint of `x` is `dx`. `:raw` is before simplification. `wrt W_h` is one parameter alone. `program`\nis a whole program that can be pasted back, `as G` also defines it as the model `G`. `:grad :grad M`\ndifferentiates half the squared norm of the gradient, which gives the Hessian times the gradient.\n\nExample:\n  :grad CharRNN wrt W_h"
    ),
    entry!(
        "why",
        "[M] NAME",
        "where an adjoint is from: equation, rule, and the terms that flow in",
        Command::Why,
        "The name is one that `:grad` prints.\n\nExample:\n  :why dh"
    ),
    entry!(
        "data",
        "[M] [with x = e, … | from FILE [line N] | random] [steps N]",
        "the example that a model is looked at with",
        Command::Data,
        "See `:help data`.\n\nExample:\n  :data Sentiment with words = seq(3, 1, 4)"
    ),
    entry!(
        "trace",
        "[M] [with … | from … | random] [steps N]",
        "run on an example and go through it step by step",
        Command::Trace,
        "Every named value at every step or node, forwards, then every adjoint backwards. `:step`, `:back` and\n`:continue` move, `:watch` chooses what is shown, `:break` where to stop. The first NaN or infinity is\ntold at once.\n\nExample:\n  :trace CharRNN steps 3"
    ),
    entry!("step", "[N]", "the next step of the trace", Command::Step, "Example:\n  :step 2"),
    entry!("back", "[N]", "the step before", Command::Back, "Example:\n  :back"),
    entry!(
        "continue",
        "",
        "on to the next break, or to the end",
        |_| Command::Continue,
        "Example:\n  :continue"
    ),
    entry!(
        "watch",
        "[NAME, … | all]",
        "which values a trace shows",
        Command::Watch,
        "Example:\n  :watch h, dh"
    ),
    entry!(
        "break",
        "[NAME when CONDITION | off]",
        "stop a trace where a condition holds",
        Command::Break,
        "The condition is an expression of the language over the model's values at a position; it holds where\nit is not 0. Without words the breaks are listed, `off` drops them.\n\nExample:\n  :break z when max(abs(z)) > 10"
    ),
    entry!(
        "nan",
        "[M]",
        "where the first NaN or infinity arose, and from what",
        Command::Nan,
        "Example:\n  :nan M"
    ),
    entry!(
        "flow",
        "[M] [with … | from … | random] [steps N] [last] [svg FILE]",
        "how gradients travel through the steps",
        Command::Flow,
        "The norm of the loss's gradient with respect to each state at each step, and the spectral radius of\nthe recurrent Jacobian. `last` takes the loss of the last position alone.\n\nExample:\n  :flow CharRNN steps 100 last svg flow.svg"
    ),
    entry!(
        "heat",
        "EXPRESSION [svg FILE]",
        "a value over two axes (or a matrix) as a map",
        Command::Heat,
        "Values of a model are written with its name.\n\nExample:\n  :heat Attention.a"
    ),
    entry!(
        "unroll",
        "[M] N [draw | dot | svg FILE]",
        "the graph of so many steps",
        Command::Unroll,
        "Every axis becomes N copies, a tree a complete one of N nodes. `draw` is as of `:graph`.\n\nExample:\n  :unroll CharRNN 3"
    ),
    entry!(
        "graph",
        "[M] [graph | grad | opt] [draw | dot | svg FILE]",
        "a stage's equations, as text, drawn with blocks, as DOT or picture",
        Command::Graph,
        "`draw` has a line for each equation and a rail for each value: `○` where it comes from, `●` where it is read.\nThe picture has a box for each equation; what is read at another position is dashed.\n\nExample:\n  :graph CharRNN grad svg grad.svg"
    ),
    entry!(
        "plan",
        "[M] [batch B] [steps N]",
        "loops, kernels with their equations, buffers with bytes",
        Command::Plan,
        "Example:\n  :plan CharRNN batch 32 steps 64"
    ),
    entry!(
        "clif",
        "[M]",
        "Cranelift's code of the training program",
        Command::Clif,
        "Example:\n  :clif CharRNN"
    ),
    entry!(
        "asm",
        "[M]",
        "the machine code of the training program",
        Command::Asm,
        "Example:\n  :asm CharRNN"
    ),
    entry!(
        "opencl",
        "[M]",
        "the OpenCL kernels of the training program",
        Command::OpenCl,
        "Example:\n  :opencl CharRNN"
    ),
    entry!(
        "passes",
        "[M] [PASS]",
        "what each pass of the compiler changed, as a diff",
        Command::Passes,
        "Example:\n  :passes CharRNN merge"
    ),
    entry!(
        "cost",
        "[M] [batch B] [steps N]",
        "operations and bytes by equation, memory, and what was not fused",
        Command::Cost,
        "Example:\n  :cost CharRNN batch 32 steps 64"
    ),
    entry!(
        "check",
        "[M]",
        "the gradient against finite differences, forward mode, and on OpenCL devices",
        Command::Check,
        "The gradient is native code's. Dimensions that nobody bound are made small.\n\nExample:\n  :check CharRNN"
    ),
    entry!(
        "train",
        "[M] [N] [from FILE] [svg FILE]",
        "train some steps and keep the weights",
        Command::Train,
        "Without a file on the model's example (see `:help data`), else on a text or an archive.\n\nExample:\n  :train CharRNN 20"
    ),
    entry!(
        "weights",
        "[RUN | M reset]",
        "load a run of `rnnc train` with its model, or list weights",
        Command::Weights,
        "`M reset` goes back to the weights that the model begins with.\n\nExample:\n  :weights run.safetensors"
    ),
    entry!("quit", "", "leave", |_| Command::Defs, "So does Ctrl-D.\n\nExample:\n  :quit"),
];

/// A command from what follows the colon.
pub(super) fn parse(text: &str) -> Result<Command, Failure> {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    // `:grad:raw` needs no blank.
    let (word, more) = word.split_once(':').map_or((word, None), |(word, more)| (word, Some(more)));
    let rest = more.map_or(rest.trim().to_string(), |more| format!(":{more} {rest}").trim().to_string());
    match COMMANDS.iter().find(|entry| entry.word == word) {
        Some(entry) => Ok((entry.make)(rest)),
        None => {
            let near = nearest(word, COMMANDS.iter().map(|entry| entry.word));
            let near = near.map_or(String::new(), |near| format!(": did you mean `:{near}`?"));
            Err(Failure::new(format!("there is no command `:{word}`{near} (`:help` lists them all)")))
        }
    }
}
