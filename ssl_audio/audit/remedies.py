"""What to do about each kind of finding."""

REMEDIES = {
    "shared_speakers": "keep all clips of a speaker in one part",
    "unknown_speakers": "name the speakers if anybody knows them",
    "identical_audio": "keep all copies of a recording in one part, or one copy only",
    "near_identical_audio": "keep all copies of a recording in one part, or one copy only",
    "augmented_copies": "split first, then augment the training part",
    "split_parent": "split by recording, never by its segments or frames",
    "validation_in_training": "choose by clips that nothing is learnt from",
    "pretraining_pool": "call the result transductive, or pretrain without these clips",
    "conflicting_labels": "listen, and keep one label",
    "shared_text": "say that the texts were seen, or test on others as well",
    "missing_class": "say which part lacks what: its score is of the others",
    "shortcut_label": "bring all files to one format before anything is learnt",
    "oversampled_rows": "split first, then oversample the training part",
    "normalisation_leak": "take the constants from the training part alone",
    "speaker_statistics": "normalise by training speakers, or call the result transductive",
}
"""By kind. Kinds that need nothing done have none."""
