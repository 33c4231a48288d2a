package measure

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// packagesForUsers are what a user's program imports.
var packagesForUsers = []string{".", "saga", "barrier", "worker", "compensation", "holdfasttest", "keyring", "metrics",
	"console"}

// forUsers reports whether dir is a package for users.
func forUsers(dir string) bool { return slices.Contains(packagesForUsers, dir) }

// forSiblings reports whether dir is exported only because other packages of this module
// need it.
func forSiblings(dir string) bool { return !internal(dir) && !forUsers(dir) }

// Exported counts the exported names of those of the files that are in a folder for which
// whose is true: types, functions, constants, variables, and the methods of exported
// types. Programs export nothing.
func Exported(files []File, whose func(dir string) bool) (n int, err error) {
	fset := token.NewFileSet()
	for _, f := range product(files) {
		if !whose(f.Dir()) {
			continue
		}
		parsed, err := parser.ParseFile(fset, f.Path, f.Text, parser.SkipObjectResolution)
		if err != nil {
			return 0, err
		}
		if parsed.Name.Name != "main" {
			n += exportedNames(parsed)
		}
	}
	return n, nil
}

func internal(dir string) bool {
	return slices.Contains(strings.Split(dir, "/"), "internal")
}

func exportedNames(file *ast.File) (n int) {
	for _, d := range file.Decls {
		for _, name := range declared(d) {
			receiver, method, isMethod := strings.Cut(name, ".")
			if ast.IsExported(receiver) && (!isMethod || ast.IsExported(method)) {
				n++
			}
		}
	}
	return n
}

// declared are the names of a declaration at the top of a file; a method's is
// "Type.Method".
func declared(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		return []string{receiver(d.Recv.List[0].Type) + "." + d.Name.Name}
	case *ast.GenDecl:
		return declaredBySpecs(d.Specs)
	}
	return nil
}

func declaredBySpecs(specs []ast.Spec) (names []string) {
	for _, spec := range specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			names = append(names, spec.Name.Name)
			if i, ok := spec.Type.(*ast.InterfaceType); ok {
				names = append(names, interfaceMethods(spec.Name.Name, i)...)
			}
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func interfaceMethods(of string, i *ast.InterfaceType) (names []string) {
	for _, m := range i.Methods.List {
		for _, name := range m.Names {
			names = append(names, of+"."+name.Name)
		}
	}
	return names
}

// receiver is the name of a method's type, without pointer and type parameters.
func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
