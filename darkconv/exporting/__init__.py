"""Writing models as files of other frameworks, for `darkconv convert`."""
