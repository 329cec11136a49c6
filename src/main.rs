use rnnc::check::{Mode, Request};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let source = std::fs::read_to_string(&args[1]).unwrap();
    let r = Request { model: args.get(2).map(|s| s.as_str()), set: &[], mode: Mode::Train, everything: true };
    match rnnc::driver::front(&source, &r) {
        Ok(c) => {
            let mut g = c.graph;
            if args.get(3).is_some_and(|a| a != "graph") {
                let wrt: Vec<String> = g.params.iter().map(|p| p.name.clone()).collect();
                g.outputs.retain(|o| o.kind != rnnc::ir::OutputKind::Value);
                g = rnnc::grad::grad(&g, &wrt).unwrap();
                if args[3] != "raw" {
                    for p in if args[3] == "opt" { rnnc::opt::COMPILE } else { rnnc::opt::TIDY } {
                        (p.run)(&mut g);
                        let c = rnnc::ir::verify(&g);
                        if !c.is_empty() {
                            println!("after {}: {:?}", p.name, c);
                        }
                    }
                }
            }
            println!("{}", rnnc::ir::print(&g));
            print!("{}", rnnc::base::render(&c.warnings, &args[1], &source, false));
        }
        Err(d) => print!("{}", rnnc::base::render(&d, &args[1], &source, false)),
    }
}
