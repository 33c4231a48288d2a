package text

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// nearShown is how many names are told where none is near.
const nearShown = 10

// UnknownName says that nothing has this name, and which names are near, or which
// there are; empty where the name is known.
func UnknownName(what, name string, known []string) string {
	slices.Sort(known)
	known = slices.Compact(known)
	if slices.Contains(known, name) {
		return ""
	}
	said := fmt.Sprintf("No %s %q is known", what, name)
	near := nearTo(name, known)
	switch {
	case len(known) == 0:
		return said + ": nor is any other. Check --prefix, and that its processes run."
	case len(near) > 0:
		return said + ". Did you mean " + strings.Join(near, " or ") + "?"
	case len(known) > nearShown:
		return fmt.Sprintf("%s; among %d others there are %s.", said, len(known), Join(known[:nearShown]))
	}
	return said + "; there are " + Join(known) + "."
}

// nearTo returns those of the known names that a slip of the hand makes into name, the
// nearest first, three at most.
func nearTo(name string, known []string) []string {
	distance := map[string]int{}
	var near []string
	for _, k := range known {
		d := edits(strings.ToLower(name), strings.ToLower(k))
		part := len(name) >= 3 && (strings.Contains(strings.ToLower(k), strings.ToLower(name)) || len(k) >= 3 &&
			strings.Contains(strings.ToLower(name), strings.ToLower(k)))
		if d <= max(1, min(len(name), len(k))/3) || part {
			distance[k] = d
			near = append(near, k)
		}
	}
	slices.SortStableFunc(near, func(x, y string) int { return cmp.Compare(distance[x], distance[y]) })
	return near[:min(len(near), 3)]
}

// edits is how many letters have to be put in, taken out or changed to make x into y.
func edits(x, y string) int {
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(x) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(y) {
			change := diagonal
			if x[i] != y[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
