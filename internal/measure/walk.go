package measure

import (
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Page is the page with the walks, from the repository's root.
const Page = "docs/architecture.md"

// Step is one link of a walk: a function, method or type, and the file that the page
// says it is in.
type Step struct {
	Name string // as the page writes it: "worker.Worker.Send" or "newPending"
	File string // from the repository's root
}

// Walk is a section of the page that follows the code from function to function.
type Walk struct {
	Title string
	Steps []Step
}

var (
	heading  = regexp.MustCompile(`(?m)^#+ `)
	codeLink = regexp.MustCompile("\\[`([^`\\]]+)`\\]\\(([^)#]+\\.go)\\)")
)

// Walks returns the sections of a page's text that link to Go files.
func Walks(text string) []Walk {
	var all []Walk
	for _, section := range heading.Split(text, -1) {
		title, body, _ := strings.Cut(section, "\n")
		w := Walk{Title: strings.TrimSpace(title)}
		for _, link := range codeLink.FindAllStringSubmatch(body, -1) {
			w.Steps = append(w.Steps, Step{link[1], path.Join(path.Dir(Page), link[2])})
		}
		if len(w.Steps) > 0 {
			all = append(all, w)
		}
	}
	return all
}

// Crossed returns how many different files a walk's steps are in; 0 if there is no such
// walk.
func Crossed(walks []Walk, title string) int {
	seen := map[string]bool{}
	for _, w := range walks {
		if w.Title != title {
			continue
		}
		for _, s := range w.Steps {
			seen[s.File] = true
		}
	}
	return len(seen)
}

// Declarations is where names are declared, by name as a walk writes it. A name without
// a package means the same in every package, so it has all the files.
type Declarations map[string][]string

// Declared reads the declarations of files that are no tests: functions, methods, types,
// constants and variables.
func Declared(files []File) (Declarations, error) {
	all := Declarations{}
	fset := token.NewFileSet()
	for _, f := range files {
		if f.Test() {
			continue
		}
		parsed, err := parser.ParseFile(fset, f.Path, f.Text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range parsed.Decls {
			for _, name := range declared(d) {
				all.add(name, f.Path)
				all.add(parsed.Name.Name+"."+name, f.Path)
			}
		}
	}
	return all, nil
}

func (d Declarations) add(name, file string) {
	if !slices.Contains(d[name], file) {
		d[name] = append(d[name], file)
	}
}
