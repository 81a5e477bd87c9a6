/** Input that the user can correct: one line that says what was found and what helps. */
export class UserError extends Error {}
