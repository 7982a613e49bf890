// The OpenAPI document as a page: every route with what it takes and what it gives.

import { $, make } from "./dom.js";

const INDENT = "  ";

/** The document, or one sentence in its place. */
async function read() {
  const reply = await fetch("/api/openapi.json");
  if (!reply.ok) throw new Error((await reply.json()).error);
  return reply.json();
}

function resolved(schema, root) {
  return schema?.$ref ? resolved(schema.$ref.slice(2).split("/").reduce((at, key) => at[key], root), root) : schema ?? {};
}

/** A schema as text: names and types, the inner ones indented. */
function typed(given, root, indent = "") {
  const schema = resolved(given, root), deeper = indent + INDENT;
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map((one) => typed(one, root, indent)).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.properties) {
    const lines = Object.entries(schema.properties).map(([name, one]) => {
      const isOptional = schema.required && !schema.required.includes(name);
      return `${deeper}${name}${isOptional ? "?" : ""}: ${typed(one, root, deeper)}`;
    });
    return `{\n${lines.join("\n")}\n${indent}}`;
  }
  if (schema.prefixItems) return `[${schema.prefixItems.map((one) => typed(one, root, indent)).join(", ")}]`;
  if (schema.type === "array") return `list of ${typed(schema.items, root, indent)}`;
  const bounds = [["minimum", "≥"], ["maximum", "≤"], ["maxLength", "length ≤"]]
    .filter(([key]) => key in schema).map(([key, sign]) => ` ${sign} ${schema[key]}`).join(",");
  return `${schema.format === "binary" || schema.contentMediaType ? "file" : schema.type ?? "any"}${bounds}`;
}

function contents(content, root) {
  return Object.entries(content ?? {}).map(([kind, { schema }]) => make("div", {}, make("code", {}, kind),
    schema && Object.keys(schema).length ? make("pre", { tabIndex: 0 }, typed(schema, root)) : null));
}

function parameters(list, root) {
  return make("ul", {}, ...list.map((one) => make("li", {}, make("code", {}, one.name),
    ` (${one.in}${one.required ? "" : ", may be left out"}): ${typed(one.schema, root)}`)));
}

function route(path, method, one, root) {
  const answers = Object.entries(one.responses).flatMap(([status, reply]) =>
    [make("h4", {}, `Answer ${status}`), ...contents(reply.content, root)]);
  return make("section", { className: "panel" }, make("h2", {}, make("code", {}, `${method.toUpperCase()} ${path}`)),
    make("p", {}, one.description ?? one.summary),
    ...(one.parameters?.length ? [make("h4", {}, "Takes"), parameters(one.parameters, root)] : []),
    ...(one.requestBody ? [make("h4", {}, "Body"), ...contents(one.requestBody.content, root)] : []),
    make("details", {}, make("summary", {}, "Answers"), ...answers));
}

read().then((root) => {
  const all = Object.entries(root.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, one]) => route(path, method, one, root)));
  $("#routes").replaceChildren(...all);
}).catch((error) => { $("#wait").textContent = error.message; });
