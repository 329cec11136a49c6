//! Sessions from lines.

use rnnc::repl::Session;

/// Does the lines one after the other and gives what one would see.
pub fn transcript(lines: &[&str]) -> String {
    on_large_stack(|| transcript_of(&mut Session::default(), lines))
}

/// The same in a session that goes on.
pub fn transcript_of(session: &mut Session, lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let reply = session.run(line);
        let typed = line.trim_end().replace('\n', "\n. ");
        text += &format!("> {typed}\n{}", reply.text);
    }
    text
}

/// Deep expressions are walked recursively: the command line has a large stack, so tests have one.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 << 20).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap()
    })
}

/// A recurrent network with the loss at the end, of any cell.
pub fn classifier(cell: &str) -> String {
    format!(
        "model Last(D = 3, H = 8, C = 2) {{\n  input x: [D] over t\n  input label: id(C)\n\n  h = {cell}(D, H)(x)\n  label ~ categorical(Dense(H, C)(h[last]))\n}}\n"
    )
}

/// A sequence model, one over two axes, one over trees; the name, the text, and a state and its parameter.
pub const MODELS: [(&str, &str, &str, &str); 3] = [
    (
        "Chars",
        "model Chars(V = 4, E = 2, H = 3) {\n  input text: id(V) over t\n  param embed: [V, E]\n  h = GRU(E, H)(embed[text[t-1]])\n  text[t] ~ categorical(Dense(H, V)(h))\n}\n",
        "h",
        "W_z",
    ),
    (
        "Align",
        "cell Attend(E, H) {\n  input x: [E]\n  input memory: [H] over s\n  param W_q, W_m: [H, H], v: [H] = normal(2)\n\n  score = dot(v, tanh(W_q @ dec.h[t-1] + W_m @ memory))\n  a = softmax(score over s)\n  context = sum(a * memory over s)\n  dec = RNN(E + H, H)([x, context])\n}\n\nmodel Align(S = 4, T = 5, E = 2, H = 3) {\n  input source: id(S) over s\n  input target: id(T) over t\n  param embed_s: [S, E] = normal(1), embed_t: [T, E]\n\n  enc = RNN(E, H)(embed_s[source])\n  att = Attend(E, H)(embed_t[target[t-1]], enc.h)\n  target[t] ~ categorical(Dense(H, T)(att.context))\n}\n",
        "score",
        "W_q",
    ),
    (
        "Parse",
        "model Parse(V = 5, E = 2, H = 2, C = 3) {\n  input word: id(V) over n.leaf\n  input label: id(C) over tree n\n  param embed: [V, E] = normal(0.5)\n\n  h = TreeLSTM(E, H)(embed[word])\n  label ~ categorical(Dense(H, C)(h))\n}\n",
        "c",
        "W_u",
    ),
];
