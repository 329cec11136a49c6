fn main() {
    let args: Vec<String> = std::env::args().collect();
    let source = std::fs::read_to_string(&args[1]).unwrap();
    let r = rnnc::check::Request { model: None, set: &[], mode: rnnc::check::Mode::Train, everything: true };
    let c = rnnc::driver::front(&source, &r).unwrap();
    let kinds = [rnnc::ir::OutputKind::Loss, rnnc::ir::OutputKind::Gradient];
    let mut g = c.graph;
    if args.len() > 2 {
        let w: Vec<String> = g.params.iter().map(|p| p.name.clone()).collect();
        g = rnnc::grad::grad(&g, &w).unwrap();
    }
    let p = rnnc::driver::planned(&g, &kinds, "x").unwrap();
    println!("{}", rnnc::plan::print(&p));
    if args.len() > 3 {
        println!("{:#?}", p.regions);
    }
}
