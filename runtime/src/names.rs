use crate::error::RunError;

/// Refuses names that the program does not have.
pub(crate) fn no_unknown_inputs<'a>(
    known: impl Iterator<Item = &'a str> + Clone,
    mut given: impl Iterator<Item = &'a String>,
) -> Result<(), RunError> {
    match given.find(|name| known.clone().all(|known| known != *name)) {
        Some(name) => {
            let known = known.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            Err(RunError::UnknownInput { name: name.clone(), known })
        }
        None => Ok(()),
    }
}
