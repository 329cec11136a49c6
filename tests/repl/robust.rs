//! No line breaks a session: random lines, and an end in the middle of work.

use rnnc::repl::{Session, editing};
use rnnc::runtime::interrupt::Interrupt;

use crate::support::{MODELS, on_large_stack};

/// Numbers that follow from a seed (xorshift).
struct Draws(u64);

impl Draws {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most.max(1) as u64) as usize
    }
}

const PIECES: [&str; 95] = [
    ":grad",
    ":why",
    ":trace",
    ":step",
    ":back",
    ":continue",
    ":watch",
    ":break",
    ":flow",
    ":heat",
    ":unroll",
    ":graph",
    ":plan",
    ":passes",
    ":cost",
    ":data",
    ":show",
    ":summary",
    ":type",
    ":all",
    ":set",
    ":seed",
    ":help",
    ":forget",
    ":nan",
    ":raw",
    ":defs",
    ":weights",
    ":train",
    ":check",
    "wrt",
    "with",
    "when",
    "from",
    "line",
    "steps",
    "dot",
    "as",
    "program",
    "last",
    "random",
    "batch",
    "over",
    "tree",
    "t",
    "s",
    "n",
    "h",
    "dh",
    "dz",
    "text",
    "source",
    "word",
    "Chars",
    "Align",
    "Parse",
    "x",
    "y",
    "Chars.h",
    "Parse.c",
    "H",
    "V",
    "seq",
    "tree",
    "leaves",
    "ids",
    "rows",
    "normal",
    "uniform",
    "LSTM",
    "RNN",
    "TreeLSTM",
    "softmax",
    "sum",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "=",
    "==",
    "+",
    "@",
    "^",
    "-",
    ".",
    "0",
    "1",
    "3",
    "-1",
    "1e400",
    "\"abc\"",
    "é#\u{202e}",
];

/// Lines of whole pieces, and the lines of real work with a piece missing, doubled or changed.
fn line(draws: &mut Draws) -> String {
    const REAL: [&str; 20] = [
        "x = seq(1, 2, 4 over t)",
        "sum(x * x[t-1] over t)",
        "y = LSTM(2, 3)(normal([2] over t, 3))",
        "y.c[last]",
        ":data Chars with text = seq(1, 2, 0)",
        ":trace Parse",
        ":break h when max(h) > 0",
        ":why Chars dz",
        ":grad Align wrt W_q",
        "z = tree(1, tree(2, 3), 4 over n)",
        "sum(z over n)",
        ":heat Align.a",
        "softmax([1, 2, 3])",
        "rows([1, 2], [3, 4]).T @ [1, 0]",
        "ids(4, 1, 2)",
        "onehot(ids(4, 1), 4)",
        ":flow Chars steps 4",
        ":cost Parse",
        "Chars.h[last]",
        "dh[t] = W_z.T @ dz[t+1]",
    ];
    if draws.below(2) == 0 {
        let count = 1 + draws.below(7);
        let pieces: Vec<&str> = (0..count).map(|_| PIECES[draws.below(PIECES.len())]).collect();
        return pieces.join(if draws.below(3) == 0 { "" } else { " " });
    }
    let mut text: Vec<char> = REAL[draws.below(REAL.len())].chars().collect();
    for _ in 0..draws.below(3) {
        let at = draws.below(text.len());
        match draws.below(3) {
            0 if text.len() > 1 => {
                text.remove(at);
            }
            1 => text.insert(at, ['(', ']', '0', '.', ',', '=', ' ', 'x', '\n', '"'][draws.below(10)]),
            _ => {
                let other = PIECES[draws.below(PIECES.len())];
                text.splice(at..at, other.chars());
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn random_lines_break_nothing() {
    on_large_stack(|| {
        let mut draws = Draws(0x9E37_79B9_7F4A_7C15);
        for _ in 0..4 {
            let mut session = Session::default();
            for (_, text, ..) in MODELS {
                assert!(!session.run(text).failed);
            }
            for _ in 0..150 {
                let line = line(&mut draws);
                let reply = session.run(&line);
                assert!(!reply.failed || reply.text.contains("error"), "{line}\n{}", reply.text);
                assert!(!reply.text.contains("internal"), "{line}\n{}", reply.text);
                let (start, _) = editing::completions(&session, &line, line.len());
                assert!(line.is_char_boundary(start));
                editing::highlighted(&line);
            }
            // The definitions are there, unless a line dropped or replaced one.
            session.run(MODELS[0].1);
            let after = session.run(":grad Chars wrt embed");
            assert!(after.text.contains("dembed"), "{}", after.text);
        }
    });
}

#[test]
fn an_interrupt_ends_what_is_computed() {
    on_large_stack(|| {
        for line in [
            "outer(normal([3000]), normal([3000])) @ outer(normal([3000]), normal([3000]))",
            ":train Chars 1000000",
            ":flow Chars steps 2000",
        ] {
            let interrupt = Interrupt::default();
            let mut session = Session::new(interrupt.clone());
            session.run("x = 3");
            session.run(MODELS[0].1);
            let began = std::time::Instant::now();
            let done = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // A line forgets presses from before it, so one presses until it has ended.
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        std::thread::sleep(std::time::Duration::from_millis(300));
                        interrupt.press();
                    }
                });
                session.run(line);
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            assert!(began.elapsed().as_secs() < 60, "{line}");
            assert_eq!(session.run("x + 1").text, "4\n");
        }
    });
}

#[test]
fn a_wrong_definition_changes_nothing() {
    let mut session = Session::default();
    assert!(!session.run("cell Twice(N) { input x: [N]  y = 2 * x }").failed);
    let reply = session.run("cell Twice(N) { input x: [N]  y = 2 * z }");
    assert!(reply.failed && reply.text.contains("input:1:39"), "{}", reply.text);
    assert_eq!(session.run("Twice(1)(seq([3]))").text, "t = 0: [6]\n");
    assert!(session.run("cell C(").failed);
    assert_eq!(session.run(":forget Twice").text, "forgot Twice\n");
    assert!(session.run("Twice(1)(seq([3]))").failed);
}
