export { Exec, Rdev, Session, type Collected, type Command } from "./client.js";
export * from "./errors.js";
export type * from "./events.js";
export type { FollowOptions } from "./follow.js";
export type { Options } from "./http.js";
export type * from "./types.js";
