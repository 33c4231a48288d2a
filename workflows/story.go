package workflows

import "slices"

// AddTo adds an event to a story, and keeps its last 50.
func AddTo[E any](story []E, e E) []E {
	const kept = 50
	if len(story) >= kept {
		story = slices.Delete(story, 0, len(story)-kept+1)
	}
	return append(story, e)
}
