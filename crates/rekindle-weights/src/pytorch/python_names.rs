//! Lists Python names that belong in a file of weights, and names that no file may hold.

/// Returns true if a state dict, or a saved module or training state around it, normally refers to this name.
pub(super) fn is_known(global: &str) -> bool {
    const EXACT: &[&str] = &[
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.Counter",
        "argparse.Namespace",
        "_codecs.encode",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "torch.Size",
        "torch.device",
        "torch.Tensor",
        "torch.serialization._get_layout",
        "torch._tensor._rebuild_from_type_v2",
        "torch.optim.swa_utils.AveragedModel",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePosixPath",
    ];
    const BUILTINS: &[&str] = &[
        "set",
        "frozenset",
        "dict",
        "list",
        "tuple",
        "int",
        "float",
        "complex",
        "bool",
        "str",
        "bytes",
        "bytearray",
        "slice",
        "range",
        "object",
    ];
    let (module, name) = global.rsplit_once('.').unwrap_or(("", global));
    EXACT.contains(&global)
        || (matches!(module, "builtins" | "__builtin__") && BUILTINS.contains(&name))
        || (module == "torch._utils" && name.starts_with("_rebuild_"))
        || (module == "torch" && (name.ends_with("Storage") || is_torch_type(name)))
        || (module == "torch.storage" && name.ends_with("Storage"))
        || [
            "torch.nn.modules.",
            "torch.nn.parameter.",
            "torch.nn.parallel.",
            "torchvision.models.",
            "torchvision.ops.",
            "timm.models.",
            "timm.layers.",
        ]
        .iter()
        .any(|prefix| global.starts_with(prefix))
}

fn is_torch_type(name: &str) -> bool {
    [
        "float", "bfloat", "int", "uint", "bool", "half", "double", "long", "short", "complex",
    ]
    .iter()
    .any(|start| name.starts_with(start))
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Returns true if the name gives a pickle power over the machine that loads it: programs, files, the
/// network, other code.
///
/// Nothing is called here, but a file with such a name is one to refuse loudly, before somebody hands it to Python.
pub(super) fn runs_code(global: &str) -> bool {
    const PACKAGES: &[&str] = &[
        "_pickle",
        "asyncio",
        "cPickle",
        "cloudpickle",
        "ctypes",
        "dill",
        "distutils",
        "importlib",
        "joblib",
        "marshal",
        "nt",
        "os",
        "pickle",
        "pip",
        "posix",
        "pty",
        "pydoc",
        "requests",
        "runpy",
        "shutil",
        "socket",
        "subprocess",
        "sys",
        "urllib",
        "webbrowser",
        "xmlrpc",
    ];
    // Words that people give to packages of their own as well.
    const MODULES: &[&str] = &[
        "bdb",
        "code",
        "codeop",
        "commands",
        "ftplib",
        "httplib",
        "imp",
        "pdb",
        "pkgutil",
        "platform",
        "popen2",
        "shelve",
        "smtplib",
        "timeit",
        "trace",
        "urllib2",
        "zipimport",
    ];
    const BUILTINS: &[&str] = &[
        "__import__",
        "apply",
        "breakpoint",
        "compile",
        "delattr",
        "eval",
        "exec",
        "execfile",
        "file",
        "globals",
        "input",
        "locals",
        "open",
        "raw_input",
        "reload",
        "setattr",
        "vars",
    ];
    const EXACT: &[&str] = &[
        "torch.load",
        "torch.hub.load",
        "torch.serialization.load",
        "torch.storage._load_from_bytes",
        "torch.jit.load",
        "numpy.load",
        "operator.attrgetter",
        "operator.methodcaller",
        "functools.reduce",
        "types.CodeType",
        "types.FunctionType",
    ];
    let (module, name) = global.rsplit_once('.').unwrap_or(("", global));
    let first = global.split('.').next().unwrap_or(global);
    match first {
        "builtins" | "__builtin__" => BUILTINS.contains(&name),
        _ => {
            PACKAGES.contains(&first)
                || MODULES.contains(&module)
                || EXACT.contains(&global)
                || module == "numpy.testing._private.utils"
                || module.starts_with("torch.hub")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_state_dicts_use_is_known() {
        for global in [
            "collections.OrderedDict",
            "torch._utils._rebuild_tensor_v2",
            "torch.FloatStorage",
            "torch.float16",
            "torch.nn.modules.conv.Conv2d",
            "torchvision.models.resnet.ResNet",
            "builtins.set",
        ] {
            assert!(is_known(global) && !runs_code(global), "{global}");
        }
    }

    #[test]
    fn what_runs_code_is_told_from_what_is_only_foreign() {
        for global in [
            "builtins.eval",
            "__builtin__.execfile",
            "os.system",
            "posix.system",
            "torch.hub.load",
            "torch.load",
            "posix.fork",
            "nt.system",
            "subprocess.Popen",
            "importlib.import_module",
        ] {
            assert!(!is_known(global) && runs_code(global), "{global}");
        }
        for global in [
            "omegaconf.dictconfig.DictConfig",
            "torch.optim.adam.Adam",
            "__main__.Net",
            "datetime.datetime",
            "types.SimpleNamespace",
            "code.models.Net",
            "torch._utils.os.system",
        ] {
            assert!(!is_known(global) && !runs_code(global), "{global}");
        }
    }
}
