// Package nodeproducer tests a transactional producer and a saga's participant in
// Node, of which the README tells.
package nodeproducer
