//! Records whose answers are not there: what a prediction reads.

use super::super::batch::Feed;
use super::super::session::Model;
use super::*;
use crate::check::Mode;
use crate::runtime::records::Format;

const TAGGER: &str = "model M(V, K) {
  input words: id(V) over t
  input tags: id(K) over t
  param E: [V, 2]
  tags ~ categorical(Dense(2, K)(E[words]))
}";

const FORECAST: &str = "model M() {
  input past: [] over s
  input future: [] over t
  h = GRU(1, 2)([past])
  future[t] ~ normal(sum(h[last]) + future[t-1])
}";

fn table<'r>(text: &str, reading: &'r Reading) -> Table<'r> {
    Table { records: Records::parse("f.csv".as_ref(), Format::Csv, text).unwrap(), reading, lines: false }
}

#[test]
fn answers_that_are_missing() {
    let reading = Reading::default();
    let mut model = Model::new("m", TAGGER);
    let loose = model.check_everything().unwrap().graph;
    let fields = table("words,tags\na b,N V\nb,N\n", &reading).learn(&loose, &BTreeMap::new(), 2, 1).unwrap();
    for (input, lexicon) in [("words", 3), ("tags", 2)] {
        assert_eq!(fields.lexicon(input).unwrap().len(), lexicon);
        model.bind_input(input, lexicon).unwrap();
    }
    let other = table("words\nb c b\n\"\"\n", &reading);
    let blank = table("words,tags\nb c b,\n\"\", \n", &reading);
    let want = Want { training: 2, answers_may_be_missing: true };
    for (mode, table) in [(Mode::Evaluate, &other), (Mode::Generate, &other), (Mode::Evaluate, &blank)] {
        let graph = model.check(mode).unwrap().graph;
        let (data, _) = table.examples(&graph, &fields, want).unwrap();
        let all = data.select::<f32>(&[0, 1]);
        assert_eq!(
            (&all.lengths["t"][..], all.feeds()),
            (&[3, 0][..], vec![("words", Feed::Ids(&[2, 0, 2, u32::MAX, u32::MAX, u32::MAX][..]))])
        );
    }
    let graph = model.check(Mode::Evaluate).unwrap().graph;
    let needed = Want { training: 2, answers_may_be_missing: false };
    let error = other.examples(&graph, &fields, needed).unwrap_err().to_string();
    assert!(error.starts_with("f.csv:1: no column `tags`"), "{error}");
}

#[test]
fn what_comes_behind_a_series() {
    let mut reading = Reading { rows: Rows::Steps, ..Reading::default() };
    reading.window = BTreeMap::from([("s".to_string(), 3), ("t".to_string(), 2)]);
    for input in ["past", "future"] {
        reading.columns.insert(input.to_string(), vec!["x".to_string()]);
    }
    reading.group = Some("k".to_string());
    let rows = table("x,k\n1,a\n2,a\n3,a\n4,a\n5,b\n6,b\n7,b\n", &reading);
    let want = Want { training: 7, answers_may_be_missing: true };
    for mode in [Mode::Evaluate, Mode::Generate] {
        let graph = Model::new("m", FORECAST).check(mode).unwrap().graph;
        let (data, count) = rows.examples(&graph, &Fields::default(), want).unwrap();
        let all = data.select::<f32>(&[0, 1]);
        assert_eq!((count, &all.lengths["s"][..], &all.lengths["t"][..]), (2, &[3, 3][..], &[2, 2][..]));
        assert_eq!(all.feeds(), [("past", Feed::Real(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0][..]))]);
    }
    let short = table("x,k\n1,a\n2,a\n", &reading);
    let graph = Model::new("m", FORECAST).check(Mode::Evaluate).unwrap().graph;
    let error = short.examples(&graph, &Fields::default(), want).unwrap_err().to_string();
    assert!(error.contains("no window of 3 steps: the longest sequence in it has 2"), "{error}");
}
