//! Training with all that a network and a `train` block can say: schedules that the graph reads, its own draws,
//! masks, stacks, groups of parameters, metrics.

use super::Workspace;

const MODEL: &str = "\
model Tiny(V = 8, E = 6, H = 6) {
  input text: id(V) over t
  state guess: id(V) over t
  param embed: [V, E]

  own = training * mask(0.3 * min(1, epoch / 2), along t)
  x = dropout(embed[where(own, guess[t-1], text[t-1])], 0.1, once)
  h = stack(2, GRU(H, H))(x + noise(0.01, E, along t))
  logits = Dense(H, V)(h)
  guess[t] = draw(categorical(logits))
  text[t] ~ categorical(logits, smoothing = 0.02)

  metric right = accuracy(logits, text)
  metric perplexity = perplexity(logits, text)
  metric calm = sum(mean(BatchNorm(H)(h)^2 over all))

  train {
    optimizer = adam(lr = 0.01)
    parameters = like(\"h.*\", lr = 0.005, weight_decay = 0.001)
    parameters = like(\"*.b_*\", l1 = 0.0001)
    parameters = like(\"h.layer1.W_r\", lr = 0)
    clip_norm = 5
    truncate = 8
    batch = 20
    epochs = 3
  }
}
";

fn workspace() -> Workspace {
    let workspace = Workspace::with_tiny();
    workspace.write("tiny.rnn", MODEL);
    workspace
}

#[test]
fn the_same_bits_on_any_threads_and_after_a_stop() {
    let workspace = workspace();
    let ran = workspace.train("--threads 1 --out one").fine();
    assert!(ran.out.contains("held-out: right 0."), "{}", ran.out);
    workspace.train("--threads 3 --out three").fine();
    assert_eq!(workspace.read("one"), workspace.read("three"));
    for stop in [5, 12] {
        let _ = std::fs::remove_file(workspace.path("parts"));
        workspace.train(&format!("--max-steps {stop} --out parts")).fine();
        workspace.run("train --resume --out parts").fine();
        assert_eq!(workspace.read("parts"), workspace.read("one"), "{stop}");
    }
    // What is measured is neither smoothed nor sampled, and a perplexity is one over all the data.
    let measured = workspace.run("eval one").fine().out;
    let figure = |name: &str| -> f64 {
        let rest = measured.split_once(name).unwrap_or_else(|| panic!("no {name} in {measured}")).1;
        rest.split_whitespace().next().unwrap().trim_end_matches([',', ';']).parse().unwrap()
    };
    assert!((figure("loss").exp() - figure("perplexity")).abs() < 0.01, "{measured}");
    workspace.run("generate one --length 20 --seed 2").fine();
    workspace.run("generate one --length 20 --seed 2 --prompt abc").fine();
}

/// What is updated is part of a run, and what is measured is measured by it.
#[test]
fn running_figures() {
    let workspace = workspace();
    workspace.train("--max-steps 1 --out first").fine();
    workspace.train("--out later").fine();
    let mean = |run: &str| weights(&workspace, run, "batchnorm.running_mean");
    assert_ne!(mean("first"), mean("later"));
    assert!(mean("first").iter().any(|byte| *byte != 0));
}

fn weights(workspace: &Workspace, run: &str, name: &str) -> Vec<u8> {
    let bytes = workspace.read(run);
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    tensors.tensor(name).unwrap().data().to_vec()
}

#[test]
fn groups_of_parameters() {
    let workspace = workspace();
    workspace.train("--max-steps 1 --out first").fine();
    workspace.train("--max-steps 9 --out later").fine();
    let weights = |run: &str, name: &str| weights(&workspace, run, name);
    assert_eq!(weights("first", "h.layer1.W_r"), weights("later", "h.layer1.W_r"));
    assert_ne!(weights("first", "h.layer2.W_r"), weights("later", "h.layer2.W_r"));
    workspace.write("wrong.rnn", MODEL.replace("h.layer1.W_r", "h.layer3.W_r"));
    workspace
        .run("train wrong.rnn --text text.txt --out run")
        .fails(1, &["no parameter fits `h.layer3.W_r`", "wrong.rnn:", "h.layer2.W_r"]);
    workspace.write("wrong.rnn", MODEL.replace("like(\"h.*\"", "like(h"));
    workspace.run("check wrong.rnn").fails(1, &["a path of parameters in quotes"]);
    workspace.write("wrong.rnn", MODEL.replace("0.3 * min(1, epoch / 2)", "1.5"));
    workspace.run("check wrong.rnn").fails(1, &["the probability of a mask lies in 0..1, not 1.5"]);
}
