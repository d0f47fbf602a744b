//! The models that are served, and how one takes the place of another without a pause.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use hec_ckks::Context;
use hec_ir::Program;
use hec_protocol::Fingerprint;

use crate::model::Model;

/// No program is larger.
const LARGEST_FILE: u64 = 1 << 31;

/// Where programs come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// These files.
    Files(Vec<PathBuf>),
    /// All files `NAME.hec` of a folder.
    Folder(PathBuf),
}

/// What a file looked like when it was read.
type Stamp = (SystemTime, u64);

/// The programs that are served, by name: that of the file without `.hec`.
#[derive(Debug)]
pub struct Repository {
    source: Source,
    /// What a request may take.
    memory: u64,
    models: RwLock<BTreeMap<String, Arc<Model>>>,
    seen: Mutex<BTreeMap<PathBuf, Stamp>>,
}

/// What happened to a model when files were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is served from now on, or in another version.
    Loaded {
        /// The model.
        name: String,
        /// Its program.
        program: Fingerprint,
    },
    /// It is not served any more.
    Removed {
        /// The model.
        name: String,
    },
    /// Its file cannot be used; what was served before still is.
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Repository {
    /// Nothing is read yet. Models whose evaluation takes more than `memory` bytes are refused.
    pub fn new(source: Source, memory: u64) -> Self {
        Self { source, memory, models: RwLock::default(), seen: Mutex::default() }
    }

    /// Looks for new, changed and removed files. Requests that run keep the program that they began with.
    pub fn refresh(&self) -> Vec<Change> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changes = Vec::new();
        let files = match &self.source {
            Source::Files(files) => files.clone(),
            Source::Folder(folder) => match programs_in(folder) {
                Ok(files) => files,
                Err(e) => {
                    let reason = format!("it cannot be read: {e}");
                    return vec![Change::Refused { path: folder.clone(), reason }];
                }
            },
        };
        for path in &files {
            let stamp = fs::metadata(path).and_then(|there| Ok((there.modified()?, there.len())));
            match stamp {
                Ok(stamp) if seen.get(path) == Some(&stamp) => {}
                Ok(stamp) => {
                    // A file that cannot be used is not read again until it changes.
                    seen.insert(path.clone(), stamp);
                    changes.push(self.load(path));
                }
                Err(e) if !seen.contains_key(path) => {
                    changes.push(Change::Refused { path: path.clone(), reason: format!("it cannot be read: {e}") });
                }
                Err(_gone) => {}
            }
        }
        let gone: Vec<PathBuf> = seen.keys().filter(|path| !files.contains(path) || !path.exists()).cloned().collect();
        for path in gone {
            seen.remove(&path);
            let name = name_of(&path);
            if self.models.write().unwrap_or_else(PoisonError::into_inner).remove(&name).is_some() {
                changes.push(Change::Removed { name });
            }
        }
        changes
    }

    fn load(&self, path: &Path) -> Change {
        let name = name_of(path);
        let model = read(path).and_then(|program| {
            let model = Model::new(name.clone(), program).map_err(|e| e.to_string())?;
            if model.memory() > self.memory {
                let (needed, given) = (model.memory(), self.memory);
                return Err(format!(
                    "one batch takes {needed} bytes of memory, and requests have {given}: raise --memory"
                ));
            }
            Ok(model)
        });
        match model {
            Ok(model) => {
                let program = model.fingerprint();
                self.models.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::new(model));
                Change::Loaded { name, program }
            }
            Err(reason) => Change::Refused { path: path.to_owned(), reason },
        }
    }

    /// The model of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Model>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// A context of these parameters, if a model has them.
    pub fn context(&self, parameters: Fingerprint) -> Option<Context> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let same = |model: &&Arc<Model>| *model.contract.parameters().fingerprint() == parameters.0;
        models.values().find(same).map(|model| model.context().clone())
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn programs_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "hec") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Program, String> {
    let length = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if length > LARGEST_FILE {
        return Err(format!("{length} bytes are no program"));
    }
    Program::from_bytes(&fs::read(path).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}
