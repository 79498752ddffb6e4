package lab

import (
	"encoding/json"
	"reflect"
	"strings"
)

// The types below are the form of a lab file, for its schema. What the reader
// accepts is checked against them by a test.

type fileLab struct {
	Name   string              `json:"name,omitempty" doc:"the lab's name; the file's if it is not said"`
	Seed   int                 `json:"seed,omitempty" doc:"of all chance; 1 if it is not said"`
	Vars   map[string]any      `json:"vars,omitempty" doc:"values by name, which stand elsewhere as $name"`
	Nodes  map[string]fileNode `json:"nodes" doc:"hosts and machines by their names"`
	Links  []fileLink          `json:"links,omitempty" doc:"links of two ends, and switches"`
	Events []fileEvent         `json:"events,omitempty" doc:"what happens at a time"`
	Expect []fileExpect        `json:"expect,omitempty" doc:"what shall be so, tried one after the other"`
}

type fileNode struct {
	Kind      string                   `json:"kind,omitempty" doc:"a towpath host, or a machine of the real kernel" enum:"host machine"`
	Count     any                      `json:"count,omitempty" doc:"how many of them there are; $n is the number of each"`
	Forward   bool                     `json:"forward,omitempty" doc:"the node is a router"`
	Addresses map[string]fileList      `json:"addresses,omitempty" doc:"of each interface, with the length of the network's prefix"`
	Routes    []fileRoute              `json:"routes,omitempty"`
	MTU       any                      `json:"mtu,omitempty" doc:"of all interfaces in bytes, or of some by name"`
	Firewall  string                   `json:"firewall,omitempty" doc:"a file of rules in nftables' language"`
	Serve     fileOneOrMore[fileServe] `json:"serve,omitempty" doc:"what goes on for as long as the lab"`
	Run       fileList                 `json:"run,omitempty" doc:"commands that are run one after the other"`
}

type fileRoute struct {
	To  string `json:"to" doc:"default, or a prefix"`
	Via string `json:"via" doc:"a router's address"`
}

type fileServe struct {
	Run   string `json:"run" doc:"the command"`
	Port  any    `json:"port,omitempty" doc:"where it listens"`
	Ready string `json:"ready,omitempty" doc:"what a machine's program prints when it can be used"`
}

type fileLink struct {
	Switch    string                  `json:"switch,omitempty" doc:"the name of a switch, which has any number of ends"`
	Count     any                     `json:"count,omitempty" doc:"how many of them there are; $n is the number of each"`
	Endpoints fileOneOrMore[filePort] `json:"endpoints" doc:"interfaces, as NODE:INTERFACE; of a switch also other switches"`
	MTU       any                     `json:"mtu,omitempty" doc:"in bytes; 1500 if it is not said"`
	Impair    any                     `json:"impair,omitempty" doc:"what happens to packets, such as delay 10ms, loss 1%; or by direction"`
}

type filePort struct {
	End    string   `json:"end" doc:"an interface, as NODE:INTERFACE, or another switch"`
	VLAN   any      `json:"vlan,omitempty" doc:"of packets without a tag"`
	Trunk  fileList `json:"trunk,omitempty" doc:"VLANs of packets with a tag"`
	Impair any      `json:"impair,omitempty" doc:"what happens to packets here"`
}

type fileEvent struct {
	At    string   `json:"at,omitempty" doc:"how long after the lab has come up, such as 5s"`
	Every string   `json:"every,omitempty" doc:"again after this time, such as 10s"`
	Do    fileList `json:"do" doc:"actions, such as link down a:eth0"`
}

type fileExpect struct {
	From     string `json:"from" doc:"the node that tries"`
	At       string `json:"at,omitempty" doc:"not before this time after the lab has come up"`
	Within   string `json:"within,omitempty" doc:"how long it may take; 2s if it is not said"`
	Fails    bool   `json:"fails,omitempty" doc:"it shall not succeed"`
	Ping     string `json:"ping,omitempty" doc:"a node or an address"`
	Count    any    `json:"count,omitempty" doc:"ping: requests"`
	Loss     string `json:"loss,omitempty" doc:"ping: a bound of the requests' loss, such as <5%"`
	Get      string `json:"get,omitempty" doc:"a URL"`
	Status   any    `json:"status,omitempty" doc:"get: of the answer"`
	Contains string `json:"contains,omitempty" doc:"get: text of the answer"`
	TCP      string `json:"tcp,omitempty" doc:"a node or an address, and a port"`
	UDP      string `json:"udp,omitempty" doc:"a node or an address, and a port"`
	Refused  bool   `json:"refused,omitempty" doc:"tcp, udp: nobody listens"`
	Send     string `json:"send,omitempty" doc:"tcp, udp: what is sent"`
	Receive  string `json:"receive,omitempty" doc:"tcp, udp: what the answer contains"`
}

// fileList is a value or a list of them.
type fileList []any

// fileOneOrMore is one or several of T, each of which may be a text instead.
type fileOneOrMore[T any] []T

// Schema is a JSON Schema (draft 2020-12) of lab files.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[fileLab]())
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", "towpath lab"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("lab: schema: " + err.Error()) // of maps and texts
	}
	return append(b, '\n')
}

type object = map[string]any

// schemaOf is the schema of a type.
func schemaOf(t reflect.Type) object {
	scalar := object{"type": []string{"string", "number", "boolean"}}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int:
		return object{"type": "integer"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Slice:
		item := schemaOf(t.Elem())
		switch {
		case t == reflect.TypeFor[fileList]():
			return object{"anyOf": []object{scalar, {"type": "array", "items": scalar}}}
		case strings.HasPrefix(t.Name(), "fileOneOrMore"):
			item = object{"anyOf": []object{{"type": "string"}, item}}
		}
		return object{"anyOf": []object{item, {"type": "array", "items": item}}}
	case reflect.Struct:
		return structSchema(t)
	}
	return object{} // anything
}

func structSchema(t reflect.Type) object {
	properties, required := object{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := schemaOf(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		if words := f.Tag.Get("enum"); words != "" {
			p["enum"] = strings.Fields(words)
		}
		properties[name] = p
		if option == "" {
			required = append(required, name)
		}
	}
	return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
}
