//! Functions as they were compiled, to be read: Cranelift's intermediate code and the machine's.
//!
//! ```text
//! ; Net_loss_1_rows
//! ; y[t] = x[t] + b
//!     push rbx
//!     lea r15, [constants]
//! .1:
//!     vmovups zmm0, zmmword ptr [rsi+rcx*1]
//! ```
//!
//! Where a function's instructions end is found by following them: behind a return or jump that no branch
//! leads past lie constants. On other machines than x86-64 the listing is Cranelift's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use cranelift_codegen::{Context, FinalizedRelocTarget, ir::ExternalName};
use cranelift_module::{FuncId, ModuleDeclarations, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};
use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, Mnemonic, OpKind, SymbolResolver,
    SymbolResult,
};

use super::emit::{EmitError, Options, emit};
use super::target::Target;
use crate::plan::{Plan, Precision};

/// A function of a compiled plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Its symbol.
    pub name: String,
    /// What it computes, in the language's notation; empty for what serves kernels.
    pub equations: Vec<String>,
    /// Cranelift's intermediate code; `None` if it was assembled without Cranelift.
    pub clif: Option<String>,
    /// The machine code, calls not yet resolved, with its constants behind it.
    pub bytes: Vec<u8>,
    /// Where in `bytes` the address of another function belongs, and its name.
    calls: Vec<(usize, String)>,
    /// Cranelift's own listing, where there is no other.
    assembly: Option<String>,
}

/// The functions that a plan becomes, for a target that may be another machine's.
///
/// # Errors
/// If the target is of another architecture, or the plan becomes no code.
pub fn functions(plan: &Plan, precision: Precision, target: Target) -> Result<Vec<Function>, EmitError> {
    let builder = ObjectBuilder::new(target.isa(true)?, plan.name.as_str(), default_libcall_names())?;
    let mut module = ObjectModule::new(builder);
    let options = Options { profiled: false, recorded: true };
    Ok(emit(&mut module, plan, precision, options)?.functions)
}

impl Function {
    /// A function that was assembled as bytes.
    pub(super) fn assembled(name: &str, equations: &[String], bytes: &[u8]) -> Function {
        let (name, bytes) = (name.to_string(), bytes.to_vec());
        Function { name, equations: equations.to_vec(), bytes, ..Function::default() }
    }

    /// A function that Cranelift has compiled in `context`.
    pub(super) fn compiled(
        name: &str,
        equations: &[String],
        clif: String,
        context: &Context,
        module: &ModuleDeclarations,
    ) -> Function {
        let (name, equations) = (name.to_string(), equations.to_vec());
        let mut function = Function { name, equations, clif: Some(clif), ..Function::default() };
        let Some(code) = context.compiled_code() else { return function };
        function.bytes = code.code_buffer().to_vec();
        function.assembly = code.vcode.clone();
        let named = &context.func.params.user_named_funcs();
        for relocation in code.buffer.relocs() {
            let name = match &relocation.target {
                FinalizedRelocTarget::ExternalName(ExternalName::User(of)) => {
                    let id = FuncId::from_u32(named[*of].index);
                    module.get_function_decl(id).linkage_name(id).into_owned()
                }
                FinalizedRelocTarget::ExternalName(other) => other.display(None).to_string(),
                FinalizedRelocTarget::Func(_) => function.name.clone(),
            };
            function.calls.push((relocation.offset as usize, name));
        }
        function
    }

    fn heading(&self) -> String {
        let mut text = format!("; {}\n", self.name);
        self.equations.iter().for_each(|equation| text.push_str(&format!("; {equation}\n")));
        text
    }

    /// Its intermediate code under its name and equations.
    pub fn intermediate(&self) -> String {
        let none = "; assembled without Cranelift: see the stage asm\n";
        format!("{}{}\n", self.heading(), self.clif.as_deref().unwrap_or(none))
    }

    /// Its machine code under its name and equations.
    pub fn assembly(&self) -> String {
        let own = || cfg!(target_arch = "x86_64").then(|| self.disassembly());
        let text = self.assembly.clone().or_else(own).unwrap_or_default();
        format!("{}{text}\n", self.heading())
    }

    fn disassembly(&self) -> String {
        let (code, end) = self.instructions();
        let symbols = self.symbols(&code, end);
        let labels = symbols.labels.clone();
        let mut formatter = IntelFormatter::with_options(Some(Box::new(symbols)), None);
        let options = formatter.options_mut();
        options.set_hex_prefix("0x");
        options.set_hex_suffix("");
        options.set_space_after_operand_separator(true);
        options.set_rip_relative_addresses(false);
        let mut text = String::new();
        for instruction in &code {
            if let Some(label) = labels.get(&instruction.ip()) {
                let _ = writeln!(text, "{label}:");
            }
            let mut line = String::new();
            formatter.format(instruction, &mut line);
            let _ = writeln!(text, "    {line}");
        }
        text + &self.constants(&labels, end)
    }

    /// The instructions, and where they end.
    fn instructions(&self) -> (Vec<Instruction>, u64) {
        let mut code = Vec::new();
        let mut farthest = 0;
        for instruction in Decoder::new(64, &self.bytes, DecoderOptions::NONE).iter() {
            let is_branch = instruction.op0_kind() == OpKind::NearBranch64;
            if is_branch && self.called(&instruction).is_none() {
                farthest = farthest.max(instruction.near_branch64());
            }
            code.push(instruction);
            let leaves = matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Jmp | Mnemonic::Ud2);
            if leaves && farthest < instruction.next_ip() {
                break;
            }
        }
        let end = code.last().map_or(0, Instruction::next_ip);
        (code, end)
    }

    /// The function whose address is part of an instruction.
    fn called(&self, instruction: &Instruction) -> Option<&str> {
        let within = instruction.ip() as usize..instruction.next_ip() as usize;
        self.calls.iter().find(|(at, _)| within.contains(at)).map(|(_, name)| name.as_str())
    }

    /// Names for addresses: `.1`, `.2`, … for what is jumped to, `constants` for the first constant.
    fn symbols(&self, code: &[Instruction], end: u64) -> Symbols {
        let mut targets = BTreeSet::new();
        let mut first = None;
        let mut callees = BTreeMap::new();
        for instruction in code {
            if let Some(name) = self.called(instruction) {
                callees.insert(instruction.ip(), name.to_string());
            } else if instruction.op0_kind() == OpKind::NearBranch64 {
                targets.insert(instruction.near_branch64());
            } else if instruction.is_ip_rel_memory_operand() {
                let address = instruction.ip_rel_memory_address();
                first = Some(first.map_or(address, |first: u64| first.min(address))).filter(|&at| at >= end);
            }
        }
        let mut labels: BTreeMap<u64, String> =
            targets.into_iter().enumerate().map(|(number, at)| (at, format!(".{}", number + 1))).collect();
        if let Some(first) = first {
            labels.insert(first, "constants".to_string());
        }
        Symbols { labels, callees }
    }

    /// What lies behind the instructions, as words.
    fn constants(&self, labels: &BTreeMap<u64, String>, end: u64) -> String {
        let Some((&first, label)) = labels.range(end..).next() else { return String::new() };
        let mut text = format!("{label}:\n");
        for line in self.bytes[first as usize..].chunks(32) {
            let words: Vec<String> = line
                .chunks(4)
                .map(|word| word.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>())
                .map(|digits| format!("0x{digits}"))
                .collect();
            let _ = writeln!(text, "    dd {}", words.join(", "));
        }
        text
    }
}

/// Names for the formatter.
struct Symbols {
    /// By address.
    labels: BTreeMap<u64, String>,
    /// By the address of the instruction that calls.
    callees: BTreeMap<u64, String>,
}

impl SymbolResolver for Symbols {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _operand: u32,
        instruction_operand: Option<u32>,
        address: u64,
        _address_size: u32,
    ) -> Option<SymbolResult<'_>> {
        let kind = instruction.op_kind(instruction_operand?);
        let is_address =
            kind == OpKind::NearBranch64 || kind == OpKind::Memory && instruction.is_ip_rel_memory_operand();
        if !is_address {
            return None;
        }
        if let Some(name) = self.callees.get(&instruction.ip()) {
            return Some(SymbolResult::with_str(address, name));
        }
        if let Some(label) = self.labels.get(&address) {
            return Some(SymbolResult::with_str(address, label));
        }
        // A constant behind the first.
        let (&first, label) = self.labels.range(..=address).next_back()?;
        (kind == OpKind::Memory).then(|| SymbolResult::with_str(first, label))
    }
}
