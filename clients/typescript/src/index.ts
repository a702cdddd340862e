export { Exec, Rdev, Session } from "./client.js";
export type { ApprovalFilter, Collected, Command, ExecFilter, Times } from "./client.js";
export * from "./errors.js";
export type * from "./events.js";
export type { FollowOptions } from "./follow.js";
export type { Options } from "./http.js";
export type * from "./types.js";
