use rnnc::check::{Mode, Request};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let source = std::fs::read_to_string(&args[1]).unwrap();
    let r = Request { model: args.get(2).map(|s| s.as_str()), set: &[], mode: Mode::Train, everything: true };
    match rnnc::driver::front(&source, &r) {
        Ok(c) => {
            println!("{}", rnnc::ir::print(&c.graph));
            print!("{}", rnnc::base::render(&c.warnings, &args[1], &source, false));
        }
        Err(d) => print!("{}", rnnc::base::render(&d, &args[1], &source, false)),
    }
}
